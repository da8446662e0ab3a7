//! A PostgreSQL server.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Failed, Server, eventually, free_port, template};

/// The superuser, and the database that is there from the start.
pub(crate) const SUPERUSER: &str = "postgres";
/// The account to run as where we are root, which PostgreSQL refuses.
const ACCOUNT: &str = "postgres";

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    settings: Vec<(String, String)>,
}

impl PostgresOptions {
    /// Sets a line of `postgresql.conf`, such as `("wal_level", "replica")`. The last one wins.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Sessions are ended, everything is written.
    Fast,
    /// A crash: nothing is written, recovery follows at the next start.
    Immediate,
}

/// A PostgreSQL server with `wal_level = logical`, that trusts every local connection.
#[derive(Debug)]
pub struct Postgres {
    // First: stopped before its folder goes.
    server: Option<Server>,
    folder: TempDir,
    port: u16,
    programs: PathBuf,
}

impl Postgres {
    /// Makes a new cluster and starts it.
    ///
    /// # Errors
    /// [`Failed`]; install `postgresql` where the programs are missing.
    pub fn start(options: &PostgresOptions) -> Result<Self, Failed> {
        let programs = programs()?;
        let folder = folder("trueup-postgres-")?;
        let data = folder.path().join("data");
        template::copy_to(&data, &programs)?;
        let mut this = Self { server: None, folder, port: free_port()?, programs };
        let mut settings = String::new();
        let base = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("wal_level", "logical"),
            ("max_wal_senders", "20"),
            ("max_replication_slots", "20"),
            ("max_connections", "200"),
            ("max_prepared_transactions", "20"),
            ("shared_buffers", "64MB"),
            // In its folder, where it is removed with everything else: what a killed server leaves in /dev/shm stays there.
            ("dynamic_shared_memory_type", "mmap"),
            ("fsync", "off"),
            ("log_min_messages", "warning"),
        ];
        let own = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in base.into_iter().chain(own) {
            settings.push_str(&format!("{name} = '{value}'\n"));
        }
        let file = data.join("postgresql.conf");
        fs::write(&file, settings).map_err(|why| Failed::new("writing postgresql.conf", why))?;
        give_away(&file)?;
        this.start_again()?;
        Ok(this)
    }

    /// Starts a stopped server, on the same port and data, and waits until it answers.
    ///
    /// # Errors
    /// [`Failed`] with the end of its log.
    pub fn start_again(&mut self) -> Result<(), Failed> {
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
        let arguments =
            ["-D", &self.data().to_string_lossy(), "-p", &self.port.to_string()].map(str::to_owned);
        let log = self.folder.path().join("log");
        let program = self.programs.join("postgres");
        let name = format!("postgres on port {}", self.port);
        let mut server = Server::start(&name, &program, &arguments, account()?, &log)?;
        eventually(&format!("an answer of {name}"), || {
            server.check_alive()?;
            self.query("SELECT 1").map(drop)
        })
        .map_err(|why| Failed::new(server.log_end(), why))?;
        self.server = Some(server);
        Ok(())
    }

    /// Stops the server; its data stay.
    ///
    /// # Errors
    /// [`Failed`] when it does not end.
    pub fn stop(&mut self, how: Stop) -> Result<(), Failed> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        server.signal(match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        })?;
        server.ended().map(drop)
    }

    /// The process, while the server runs.
    #[must_use]
    pub const fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The URL for the superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as(SUPERUSER)
    }

    /// The URL for another role; no password is asked.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs SQL by `psql` as the superuser, each statement on its own, and returns its rows: columns separated by `|`.
    ///
    /// # Errors
    /// [`Failed`] with what the server says.
    pub fn query(&self, sql: &str) -> Result<String, Failed> {
        let program = self.programs.join("psql");
        let output = self.psql().arg("-c").arg(sql).output();
        let output = output.map_err(|why| Failed::new("starting psql", why))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(Failed::program(program.as_os_str(), &output))
        }
    }

    /// A `psql` command for this server, for sessions that are to run beside the test: add `-c SQL`.
    #[must_use]
    pub fn psql(&self) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d"]).arg(self.url());
        psql
    }

    /// Changes a setting that takes effect by a reload, and waits until it has.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn set(&self, name: &str, value: &str) -> Result<(), Failed> {
        self.query(&format!("ALTER SYSTEM SET {name} = '{value}'"))?;
        self.query("SELECT pg_reload_conf()")?;
        eventually(&format!("{name} = {value}"), || {
            let now = self.query(&format!("SHOW {name}"))?;
            if now == value { Ok(()) } else { Err(Failed(format!("it is still {now}"))) }
        })
    }

    /// A streaming standby of this server, called `name` in `synchronous_standby_names`, that has begun to stream.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn standby(&self, name: &str) -> Result<Self, Failed> {
        let folder = folder("trueup-standby-")?;
        let data = folder.path().join("data");
        let source = format!("host=127.0.0.1 port={} user={SUPERUSER} application_name={name}", self.port);
        let program = self.programs.join("pg_basebackup");
        let mut backup = as_account(&program)?;
        backup.args(["-R", "-X", "stream", "-c", "fast", "-d", &source, "-D"]).arg(&data);
        run(backup, program.as_os_str())?;
        let mut standby = Self { server: None, folder, port: free_port()?, programs: self.programs.clone() };
        standby.start_again()?;
        eventually(&format!("the standby {name} to stream"), || {
            let sql = format!(
                "SELECT count(*) FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'"
            );
            if self.query(&sql)? == "1" { Ok(()) } else { Err(Failed("not yet".to_owned())) }
        })?;
        Ok(standby)
    }

    /// Makes a standby the primary of a new timeline, and waits until it takes writes.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn promote(&self) -> Result<(), Failed> {
        self.query("SELECT pg_promote(true, 60)").map(drop)
    }

    /// Copies the data of a stopped server into `to`, to be put back by [`Postgres::restore`].
    ///
    /// # Errors
    /// [`Failed`] when the server runs, or copying fails.
    pub fn copy_data(&self, to: &Path) -> Result<(), Failed> {
        if self.server.is_some() {
            return Err(Failed("the server runs: stop it before its files are copied".to_owned()));
        }
        copy(&self.data(), to)
    }

    /// Puts back, into a stopped server, files that [`Postgres::copy_data`] copied.
    ///
    /// # Errors
    /// [`Failed`] when the server runs, or copying fails.
    pub fn restore(&self, from: &Path) -> Result<(), Failed> {
        if self.server.is_some() {
            return Err(Failed("the server runs: stop it before its files are replaced".to_owned()));
        }
        fs::remove_dir_all(self.data()).map_err(|why| Failed::new("removing the data", why))?;
        copy(from, &self.data())
    }
}

/// The folder of PostgreSQL's programs, of the newest version that is installed.
fn programs() -> Result<PathBuf, Failed> {
    let missing = "PostgreSQL's server is not installed; install the package `postgresql`";
    let versions = fs::read_dir("/usr/lib/postgresql").map_err(|_| Failed(missing.to_owned()))?;
    let version =
        |path: &PathBuf| path.file_name().and_then(OsStr::to_str).and_then(|v| v.parse::<u32>().ok());
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(version);
    newest.map(|path| path.join("bin")).ok_or_else(|| Failed(missing.to_owned()))
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    let program = OsStr::new("cp");
    let mut cp = Command::new(program);
    cp.arg("-a").arg(from).arg(to);
    run(cp, program)
}

pub(crate) fn run(mut command: Command, program: &OsStr) -> Result<(), Failed> {
    let output =
        command.output().map_err(|why| Failed::new(format!("starting {}", program.display()), why))?;
    if output.status.success() { Ok(()) } else { Err(Failed::program(program, &output)) }
}

/// A temporary folder that belongs to the account that servers run as.
pub(crate) fn folder(prefix: &str) -> Result<TempDir, Failed> {
    let failed = |why| Failed::new("making a temporary folder", why);
    let folder = tempfile::Builder::new().prefix(prefix).tempdir().map_err(failed)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).map_err(failed)?;
    give_away(folder.path())?;
    Ok(folder)
}

fn give_away(path: &Path) -> Result<(), Failed> {
    let Some(uid) = account_id()? else { return Ok(()) };
    chown(path, Some(uid), Some(uid))
        .map_err(|why| Failed::new(format!("giving {} away", path.display()), why))
}

/// The number of the account to run as, where we are root.
pub(crate) fn account_id() -> Result<Option<u32>, Failed> {
    let Some(account) = account()? else { return Ok(None) };
    let output = Command::new("id").args(["-u", account]).output();
    let output = output.map_err(|why| Failed::new("starting id", why))?;
    let uid = String::from_utf8_lossy(&output.stdout).trim().parse::<u32>();
    uid.map(Some).map_err(|_| Failed::program(OsStr::new("id"), &output))
}

/// The account to run as, where we are root.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one signature for all places that may once look the account up"
)]
fn account() -> Result<Option<&'static str>, Failed> {
    Ok(rustix::process::geteuid().is_root().then_some(ACCOUNT))
}

pub(crate) fn as_account(program: &Path) -> Result<Command, Failed> {
    Ok(match account()? {
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(program);
            command.current_dir("/");
            command
        }
        None => Command::new(program),
    })
}
