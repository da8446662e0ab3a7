//! A database, the binary, and its clients.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rusqlite::Connection;
use tempfile::TempDir;

/// How long a test waits for something that must happen; it is never waited for in a test that passes.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(2);

/// A shop's database in a folder of its own.
pub(crate) struct Shop {
    pub(crate) folder: TempDir,
}

impl Shop {
    pub(crate) fn new() -> Self {
        let shop = Self { folder: tempfile::tempdir().unwrap() };
        shop.sql(
            "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT, price INTEGER, city TEXT, password TEXT);
             INSERT INTO product VALUES (42, 'Trail shoe', 900, 'Turin', 'hunter2'), (43, 'Hat', 100, 'Delft', NULL);
             CREATE TABLE stock (warehouse TEXT, product INTEGER, count INTEGER, PRIMARY KEY (warehouse, product));
             INSERT INTO stock VALUES ('north', 42, 7);
             CREATE TABLE otp (id INTEGER PRIMARY KEY, code TEXT);
             INSERT INTO otp VALUES (1, 'hunter2');
             CREATE TABLE log (line TEXT);",
        );
        shop
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.path().display())
    }

    /// Executes SQL as another program would.
    pub(crate) fn sql(&self, sql: &str) {
        let conn = Connection::open(self.path()).unwrap();
        conn.busy_timeout(PATIENCE).unwrap();
        conn.execute_batch(sql).unwrap();
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `trueup` in the shop's folder.
    pub(crate) fn trueup(&self, args: &[&str]) -> Command {
        let mut command = trueup_testbed::tied(env!("CARGO_BIN_EXE_trueup"));
        command.args(args).current_dir(self.folder.path()).env_remove("TRUEUP_LOG");
        command
    }

    /// Runs `trueup` on the shop's database to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        let url = self.url();
        let mut args = args.to_vec();
        args.extend(["--source", &url]);
        self.run_plainly(&args)
    }

    /// Runs `trueup` to its end.
    pub(crate) fn run_plainly(&self, args: &[&str]) -> Ended {
        Ended::of(self.trueup(args).output().unwrap())
    }

    /// Serves the shop on free ports, with the feed installed.
    pub(crate) fn serve(&self, more: &[&str]) -> Server {
        let url = self.url();
        let mut args = vec![
            "serve",
            "--source",
            &url,
            "--install-feed",
            "--resp",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ];
        args.extend(more);
        Server::start(self.trueup(&args))
    }
}

/// What a command that has ended said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A running `trueup`; killed when dropped.
pub(crate) struct Server {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    err: BufReader<std::process::ChildStderr>,
    /// What it has said on standard error so far.
    said: String,
    pub(crate) resp: String,
    pub(crate) http: String,
}

impl Server {
    /// Starts `command`, waits until it says where it listens, and then until its feed has caught up.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = trueup_testbed::spawn(command).unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let Some(addresses) = line.strip_prefix("listening ") else {
            child.kill().unwrap();
            let mut said = String::new();
            err.read_to_string(&mut said).unwrap();
            panic!("{line:?} {said}");
        };
        let find = |name: &str| {
            let found = addresses.split_whitespace().find_map(|word| word.strip_prefix(name));
            found.unwrap().to_owned()
        };
        let (resp, http) = (find("resp="), find("http="));
        let server = Self { child, out, err, said: String::new(), resp, http };
        until(|| server.get("/readyz", "").starts_with("HTTP/1.1 200"), || server.get("/readyz", ""));
        server
    }

    /// Sends one inline command; the reply's first line, and the next one for a bulk string.
    pub(crate) fn redis(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(&self.resp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        if first.starts_with('$') && first != "$-1" { lines.next().unwrap() } else { first }
    }

    /// Asks until `expected` is the reply.
    #[track_caller]
    pub(crate) fn redis_comes_to(&self, command: &str, expected: &str) {
        until(|| self.redis(command) == expected, || format!("{command}: {}", self.redis(command)));
    }

    /// The whole response to `GET target`.
    pub(crate) fn get(&self, target: &str, headers: &str) -> String {
        self.send("GET", target, headers, "")
    }

    /// The whole response to a request.
    pub(crate) fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\nConnection: \
             close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap().success());
    }

    /// Waits until it has said `words` on standard error.
    pub(crate) fn says(&mut self, words: &str) {
        while !self.said.contains(words) {
            let read = self.err.read_line(&mut self.said).unwrap();
            assert!(read > 0, "it ended before it said {words:?}: {}", self.said);
        }
    }

    /// What it says to its end.
    pub(crate) fn ends(mut self) -> Ended {
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let mut err = std::mem::take(&mut self.said);
        self.err.read_to_string(&mut err).unwrap();
        Ended { code: self.child.wait().unwrap().code().unwrap_or(-1), out, err }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `holds`, and shows `otherwise` if it never does.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let clock = trueup_core::env::Clock::system();
    let started = clock.now();
    while !holds() {
        assert!(clock.now().since(started) < PATIENCE, "{}", otherwise());
        std::thread::sleep(PAUSE);
    }
}

/// Names of tables and triggers of ours in the database.
pub(crate) fn ours(path: &Path) -> Vec<String> {
    let conn = Connection::open(path).unwrap();
    let sql = "SELECT name FROM sqlite_master WHERE name LIKE '\\_trueup%' ESCAPE '\\'";
    let mut statement = conn.prepare(sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}
