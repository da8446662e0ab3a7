//! `trueup demo`.

use std::path::PathBuf;

use crate::support::{Server, Shop, until};

/// Folders of demos under the shop's own temporary folder.
fn folders(shop: &Shop) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(shop.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("trueup-demo")).collect()
}

#[test]
fn it_ends_by_itself_and_leaves_nothing() {
    let shop = Shop::new();
    let output = shop.trueup(&["demo", "--seconds", "2"]).env("TMPDIR", shop.folder.path()).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    for words in ["redis-cli -p ", "curl -i http://", "reads/s", "violations: 0"] {
        assert!(out.contains(words), "{words} is not in {out}");
    }
    assert_eq!(folders(&shop), Vec::<PathBuf>::new());
}

#[test]
fn killed_it_leaves_nothing_either() {
    let shop = Shop::new();
    let mut command = shop.trueup(&["demo"]);
    command.env("TMPDIR", shop.folder.path());
    let server = Server::start(command);
    assert!(server.redis("GET account:42").starts_with(r#"{"id":42"#));
    assert_eq!(folders(&shop).len(), 1);
    until(|| server.get("/v1/status", "").contains(r#""changes":"#), || "no second program".to_owned());
    server.signal("KILL");
    let _ = server.ends();
    until(|| folders(&shop).is_empty(), || format!("{:?}", folders(&shop)));
}
