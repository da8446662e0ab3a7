//! The text of `INFO`.

use std::fmt::{Display, Write as _};

use super::{
    args::Args,
    counters::{Counters, get},
    service::Service,
};

/// Version of Redis whose behaviour clients may expect; some libraries choose their commands by it.
const COMPATIBLE_REDIS_VERSION: &str = "7.2.0";

/// Collects the sections of `INFO` that were asked for.
#[derive(Debug)]
pub struct Info<'a> {
    wanted: Args<'a>,
    text: String,
}

/// Lines of one section.
#[derive(Debug)]
pub struct Section<'a>(&'a mut String);

impl Section<'_> {
    /// One `name:value` line.
    pub fn line(&mut self, name: &str, value: impl Display) -> &mut Self {
        // Writing into a String cannot fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
        self
    }
}

impl Info<'_> {
    /// Adds the section `title` if it was asked for; `lines` is called only then.
    pub fn section(&mut self, title: &str, lines: impl FnOnce(&mut Section<'_>)) {
        const ALL: [&str; 3] = ["all", "default", "everything"];
        let is = |wanted: &[u8], name: &str| wanted.eq_ignore_ascii_case(name.as_bytes());
        let asked = |wanted| is(wanted, title) || ALL.iter().any(|name| is(wanted, name));
        if !self.wanted.is_empty() && !self.wanted.iter().any(asked) {
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str("\r\n");
        }
        // Writing into a String cannot fail.
        let _ = write!(self.text, "# {title}\r\n");
        lines(&mut Section(&mut self.text));
    }
}

/// The text of `INFO wanted...`.
pub(super) fn text<S: Service>(wanted: Args<'_>, counters: &Counters, service: &S) -> String {
    let mut info = Info { wanted, text: String::new() };
    info.section("Server", |section| {
        section
            .line("redis_version", COMPATIBLE_REDIS_VERSION)
            .line("redis_mode", "standalone")
            .line("server_name", "trueup")
            .line("trueup_version", env!("CARGO_PKG_VERSION"))
            .line("process_id", std::process::id());
    });
    info.section("Clients", |section| {
        section.line("connected_clients", get(&counters.connections_open));
    });
    // Clients such as ioredis wait for this line before they send anything.
    info.section("Persistence", |section| {
        section.line("loading", 0);
    });
    info.section("Stats", |section| {
        section
            .line("total_connections_received", get(&counters.connections_accepted))
            .line("rejected_connections", get(&counters.connections_refused))
            .line("total_commands_processed", get(&counters.commands))
            .line("total_net_input_bytes", get(&counters.received_bytes))
            .line("total_net_output_bytes", get(&counters.sent_bytes))
            .line("protocol_errors", get(&counters.protocol_errors))
            .line("authentication_failures", get(&counters.authentication_failures));
    });
    info.section("Replication", |section| {
        section.line("role", "master");
    });
    service.info(&mut info);
    info.text
}
