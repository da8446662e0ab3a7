//! Processes that die with this one, however it ends.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::Failed;

/// Pause between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Most that [`eventually`] waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of a log an error shows, in bytes.
const LOG_SHOWN_BYTES: u64 = 2_000;

/// A port of 127.0.0.1 on which nothing listens; below 32768, where the system takes none for its own connections.
///
/// # Errors
/// [`Failed`] when none is found.
pub fn free_port() -> Result<u16, Failed> {
    use std::sync::atomic::{AtomicU16, Ordering};
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 15_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run side by side begin at different places.
    let offset = std::process::id() as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (offset.wrapping_mul(211).wrapping_add(step)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Failed("no free port on 127.0.0.1".to_owned()))
}

/// An error that names `package` where `program`, a path or a name that the search path has, is missing.
pub(crate) fn installed(program: &Path, package: &str) -> Result<(), Failed> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // A path is itself, wherever it is looked for from.
    let found = |folder: PathBuf| folder.join(program).is_file();
    if program.components().count() > 1 && program.is_file() || std::env::split_paths(&folders).any(found) {
        return Ok(());
    }
    Err(Failed(format!("`{}` is not installed; install the package `{package}`", program.display())))
}

/// Waits until `look` gives something.
///
/// # Errors
/// [`Failed`] after a minute, naming `what` was waited for and the last reason.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, Failed>) -> Result<T, Failed> {
    let mut looks = PATIENCE.as_millis() / LOOK_EVERY.as_millis();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(why) if looks == 0 => {
                return Err(Failed::new(format!("waited {PATIENCE:?} for {what}"), why));
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
        looks -= 1;
    }
}

/// A running server: killed when dropped, or by the kernel when this process ends in any other way.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `program` with its output in `log`, as `user` if one is given (and we are root).
    ///
    /// # Errors
    /// [`Failed`] when it cannot be started.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        user: Option<&str>,
        log: &Path,
    ) -> Result<Self, Failed> {
        let failed = |why: std::io::Error| Failed::new(format!("starting {name}"), why);
        let out = File::options().create(true).append(true).open(log).map_err(failed)?;
        let mut command = dying();
        if let Some(user) = user {
            command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
        }
        command.arg(program).args(arguments).stdin(Stdio::null());
        command.stdout(out.try_clone().map_err(failed)?).stderr(out);
        let child = spawn(command).map_err(failed)?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, for example [`Signal::STOP`] and [`Signal::CONT`].
    ///
    /// # Errors
    /// [`Failed`] when the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let failed = |why: &dyn std::fmt::Display| Failed::new(format!("signalling {}", self.name), why);
        let pid = pid.ok_or_else(|| failed(&"no process id"))?;
        kill_process(pid, signal).map_err(|why| failed(&why))
    }

    /// Kills it at once, as a power loss would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// [`Failed`] when it does not.
    pub fn ended(&mut self) -> Result<ExitStatus, Failed> {
        let what = format!("the end of {}", self.name);
        eventually(&what, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(Failed("it still runs".to_owned())),
            Err(why) => Err(Failed::new("asking for its state", why)),
        })
    }

    /// An error if it has ended, with the end of its log.
    ///
    /// # Errors
    /// [`Failed`], if it has ended.
    pub fn check_alive(&mut self) -> Result<(), Failed> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failed::new(format!("{} ended ({status})", self.name), self.log_end())),
            Err(why) => Err(Failed::new(format!("asking for the state of {}", self.name), why)),
        }
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn log_end(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_SHOWN_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|why| format!("its log cannot be read: {why}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command for `program` that the kernel kills when this process ends in whatever way, if [`spawn`] starts it.
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = dying();
    command.arg(program);
    command
}

fn dying() -> Command {
    let mut command = Command::new("setpriv");
    // Passed on by `exec`; set last, because a change of user would clear it.
    command.args(["--pdeathsig", "KILL"]);
    command
}

/// Starts a command from a thread that lives as long as this process: the kernel takes the end of the thread that
/// started a process for the end of its parent.
///
/// # Errors
/// When the system cannot start it.
pub fn spawn(command: Command) -> std::io::Result<Child> {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, receiver) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in receiver {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, child) = mpsc::channel();
    let gone = || std::io::Error::other("the thread that starts servers is gone");
    spawner.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_with_its_package() {
        installed(Path::new("sh"), "dash").unwrap();
        installed(Path::new("/bin/sh"), "dash").unwrap();
        let error = installed(Path::new("rediss-server"), "redis-server").unwrap_err().to_string();
        assert_eq!(error, "`rediss-server` is not installed; install the package `redis-server`");
        installed(Path::new("/nowhere/redis-server"), "redis-server").unwrap_err();
    }
}
