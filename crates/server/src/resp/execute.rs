//! From a decoded command to its reply.

use super::{
    command::{ClientCommand, Command},
    config::Config,
    counters::{Counters, add},
    info,
    reply::Reply,
    service::{Outcome, PendingReply, Service},
    session::Session,
};

/// What the connection does after a command.
pub(super) enum Next {
    /// A reply was written; take up the next command.
    Continue,
    /// The reply comes later.
    Wait(PendingReply),
    /// A reply was written; close once it is sent.
    Close,
}

/// What a command may touch beside its session.
pub(super) struct Context<'a, S> {
    pub(super) service: &'a S,
    pub(super) config: &'a Config,
    pub(super) counters: &'a Counters,
}

/// Answers `command`.
#[inline]
pub(super) fn execute<S: Service>(
    context: &Context<'_, S>,
    session: &mut Session,
    command: &Command<'_>,
    reply: &mut Reply<'_>,
) -> Next {
    if let Some(refusal) = session.refusal(command) {
        reply.error(refusal);
        return Next::Continue;
    }
    let Command::Data(data) = command else {
        return about_connection(context, session, command, reply);
    };
    match context.service.execute(session, data, reply) {
        Outcome::Done => Next::Continue,
        Outcome::Pending(later) => Next::Wait(later),
    }
}

fn about_connection<S: Service>(
    context: &Context<'_, S>,
    session: &mut Session,
    command: &Command<'_>,
    reply: &mut Reply<'_>,
) -> Next {
    match command {
        // Data is answered by the service before it comes here.
        Command::Data(_) | Command::Select => reply.ok(),
        Command::Ping(None) => reply.simple("PONG"),
        Command::Ping(Some(text)) | Command::Echo(text) => reply.bulk(text.0),
        Command::Hello(hello) => match session.hello(hello, context.config, context.counters) {
            Ok(()) => {
                reply.set_protocol(session.format().protocol);
                session.describe(reply);
            }
            Err(refusal) => reply.error(refusal),
        },
        Command::Auth(credentials) => {
            match session.authenticate(credentials, context.config, context.counters) {
                Ok(()) => reply.ok(),
                Err(refusal) => reply.error(refusal),
            }
        }
        Command::Info(sections) => reply.verbatim(&info::text(*sections, context.counters, context.service)),
        Command::Command(query) => query.answer(reply),
        Command::Client(client) => about_client(session, client, reply),
        Command::ConfigGet => reply.map(0),
        Command::Reset => {
            session.reset(context.config);
            reply.set_protocol(session.format().protocol);
            reply.simple("RESET");
        }
        Command::Quit => {
            reply.ok();
            return Next::Close;
        }
    }
    Next::Continue
}

fn about_client(session: &mut Session, client: &ClientCommand<'_>, reply: &mut Reply<'_>) {
    match client {
        ClientCommand::Id => reply.integer(session.id() as i64),
        ClientCommand::Info | ClientCommand::List => reply.verbatim(&session.line()),
        ClientCommand::GetName if session.name().is_empty() => reply.nil(),
        ClientCommand::GetName => reply.bulk(session.name().as_bytes()),
        ClientCommand::SetName(name) => {
            session.set_name(name);
            reply.ok();
        }
        ClientCommand::SetInfo(attribute, value) => {
            session.set_attribute(*attribute, value);
            reply.ok();
        }
        ClientCommand::ReplyOn => reply.ok(),
    }
}

/// Counts commands that were taken up, once per burst.
pub(super) fn count(counters: &Counters, commands: u64, errors: u64) {
    if commands > 0 {
        add(&counters.commands, commands);
    }
    if errors > 0 {
        add(&counters.command_errors, errors);
    }
}
