//! Each mistake gets its own words and its own exit code.

use crate::support::Shop;

#[test]
fn at_the_start() {
    let shop = Shop::new();
    let garbage = shop.file("garbage.db", &"no database ".repeat(1_000));
    let garbage = format!("sqlite:{}", garbage.display());
    let bad_config = shop.file("bad.toml", "[class.user]\ntabel = \"user\"\n");
    let not_toml = shop.file("half.toml", "[class.user\n");
    let with_l2 = shop.file("l2.toml", "[l2]\nurls = [\"redis://me:hunter2@127.0.0.1:6379\"]\n");
    let no_key = shop.file("no_key.toml", "[class.log]\ntable = \"log\"\nkey = [\"line\"]\n");
    let scoped = shop
        .file("scoped.toml", "[class.product]\ntable = \"product\"\nkey = [\"id\"]\nscope = [\"tenant\"]\n");
    let wrong_key = shop.file("wrong_key.toml", "[class.product]\ntable = \"product\"\nkey = [\"name\"]\n");
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let url = shop.url();
    let serve = |more: &[&str]| {
        let mut args = vec!["serve", "--http", "127.0.0.1:0"];
        args.extend(more);
        shop.run_plainly(&args)
    };
    for (args, code, words) in [
        (vec!["--source", "sqlite:nope.db"], 3, "there is no such file"),
        (vec!["--source", &garbage], 3, "not a SQLite database"),
        (
            vec!["--source", "mysql://x"],
            2,
            "names no kind of database that Trueup reads; write \"sqlite:PATH\" or \"postgres://USER@HOST/DATABASE\"\n",
        ),
        (vec!["--source", "postgres://u:hunter2@h/d"], 2, "a secret does not belong here"),
        (vec![], 2, "no database is named"),
        (vec!["--source", &url], 2, "--install-feed"),
        (vec!["--source", &url, "--l2", "http://h:1"], 2, "is not the address of a remote tier"),
        (vec!["--source", &url, "--resp", "0.0.0.0:0"], 2, "`--token-file PATH`"),
        (vec!["--source", &url, "--token-file", "nope"], 2, "; check the path and its permissions"),
        (vec!["--source", &url, "--config", "nope.toml"], 2, "cannot read the file"),
        (
            vec!["--source", &url, "--config", &path(&bad_config)],
            2,
            "bad.toml:2:1: class.user.tabel: unknown key, did you mean \"table\"?",
        ),
        (vec!["--source", &url, "--config", &path(&not_toml)], 2, "not valid TOML"),
        (vec!["--source", &url, "--config", &path(&with_l2)], 2, "password_file"),
        (vec!["--source", &url, "--install-feed", "--config", &path(&no_key)], 2, "it has no primary key"),
        (
            vec!["--source", &url, "--install-feed", "--config", &path(&scoped)],
            2,
            "write a `query` that uses the scope",
        ),
        (
            vec!["--source", &url, "--install-feed", "--config", &path(&wrong_key)],
            2,
            "write `key = [\"id\"]`",
        ),
        (vec!["--sauce", "x"], 2, "--source"),
    ] {
        let ended = serve(&args);
        assert_eq!(ended.code, code, "{args:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{args:?}: {}", ended.err);
        assert!(!ended.err.contains("hunter2") && !ended.err.contains("panicked"), "{args:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{args:?}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let shop = Shop::new();
    let server = shop.serve(&[]);
    let url = shop.url();
    let second = shop.run_plainly(&["serve", "--source", &url, "--resp", &server.resp, "--http", "off"]);
    assert_eq!(second.code, 3, "{second:?}");
    assert!(second.err.contains(&format!("RESP cannot listen on {}", server.resp)), "{second:?}");
    assert!(second.err.contains("--resp"), "{second:?}");
}

#[test]
fn completions_are_printed() {
    let shop = Shop::new();
    let ended = shop.run_plainly(&["completions", "bash"]);
    assert!(ended.code == 0 && ended.out.contains("_trueup"), "{ended:?}");
    assert!(!shop.run_plainly(&["--help"]).out.contains("demo-writer"));
}
