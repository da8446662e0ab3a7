//! One connection: read a burst, take up its commands, answer them in order with one write.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::{
    buffer::{Input, Output},
    command::Command,
    config::Config,
    counters::{Counters, add},
    execute::{self, Next, execute},
    parse::{Parser, Progress},
    reply::Encoded,
    service::Service,
    session::Session,
    timer::{Timer, Wait},
    turn::Queue,
};

/// One client's connection.
pub(super) struct Connection<S> {
    stream: TcpStream,
    service: S,
    config: Arc<Config>,
    counters: Arc<Counters>,
    session: Session,
    parser: Parser,
    input: Input,
    output: Output,
    queue: Queue,
    timer: Timer,
    /// Length of a parsed command that has to wait for those before it.
    held: Option<usize>,
    /// A command that changes something is in flight: nothing after it is taken up.
    barrier: bool,
    /// More bytes may come.
    receiving: bool,
    /// More commands may be taken up.
    starting: bool,
    commands: u64,
    errors: u64,
    sent_bytes: u64,
}

/// Why no further command was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The next command is not whole.
    Incomplete,
    /// Commands in flight or unsent replies come first.
    Blocked,
    /// Other connections come first.
    TurnOver,
    /// There is no next command: `QUIT`, or a broken stream.
    Closing,
}

/// What a connection was waiting for.
enum Event {
    /// Replies were queued for sending, or the socket takes bytes again.
    Sendable,
    /// So many bytes came in; zero is the end.
    Received(usize),
    TooSlow,
    Stopping,
}

impl<S: Service> Connection<S> {
    pub(super) fn new(
        stream: TcpStream,
        service: S,
        config: Arc<Config>,
        counters: Arc<Counters>,
        session: Session,
    ) -> Self {
        Self {
            stream,
            service,
            config,
            counters,
            session,
            parser: Parser::new(),
            input: Input::default(),
            output: Output::default(),
            queue: Queue::default(),
            timer: Timer::default(),
            held: None,
            barrier: false,
            receiving: true,
            starting: true,
            commands: 0,
            errors: 0,
            sent_bytes: 0,
        }
    }

    /// Serves the connection until either side is done. When `stop` is cancelled, commands that have arrived are
    /// answered and no more are read.
    ///
    /// # Errors
    /// The socket's, such as a peer that went away.
    pub(super) async fn run(mut self, stop: CancellationToken) -> io::Result<()> {
        let mut stopping = pin!(stop.cancelled());
        loop {
            let stop = self.start_commands();
            self.send()?;
            if self.is_done(stop) {
                // An orderly end, so that the last reply is not lost even if bytes are left unread.
                return self.stream.shutdown().await;
            }
            if stop == Stop::TurnOver || (stop == Stop::Blocked && self.may_start()) {
                tokio::task::yield_now().await;
                continue;
            }
            self.timer.watch(self.limited_wait(stop));
            match poll_fn(|cx| self.poll_event(stop, stopping.as_mut(), cx)).await? {
                Event::Sendable => {}
                Event::Received(0) | Event::Stopping => self.receiving = false,
                Event::Received(bytes) => {
                    add(&self.counters.received_bytes, bytes as u64);
                    self.input.received(bytes);
                }
                Event::TooSlow => {
                    add(&self.counters.connections_timed_out, 1);
                    return Ok(());
                }
            }
        }
    }

    /// Takes up what the input holds, as far as it may.
    fn start_commands(&mut self) -> Stop {
        let (commands, errors) = (self.commands, self.errors);
        let stop = self.start_commands_uncounted();
        execute::count(&self.counters, self.commands - commands, self.errors - errors);
        stop
    }

    fn start_commands_uncounted(&mut self) -> Stop {
        for _ in 0..self.config.commands_per_turn {
            if !self.starting {
                return Stop::Closing;
            }
            if !self.may_start() {
                return Stop::Blocked;
            }
            let frame = self.input.unconsumed();
            let consumed = match self.held.take() {
                Some(consumed) => consumed,
                None => match self.parser.advance(frame, self.session.limits(&self.config)) {
                    Ok(Progress::Complete { consumed }) => consumed,
                    Ok(Progress::Incomplete { .. }) => return Stop::Incomplete,
                    Err(error) => {
                        add(&self.counters.protocol_errors, 1);
                        self.starting = false;
                        self.reply_error(format_args!("ERR Protocol error: {error}"));
                        return Stop::Closing;
                    }
                },
            };
            if !self.start_command() {
                self.held = Some(consumed);
                return Stop::Blocked;
            }
            self.input.consume(consumed);
        }
        Stop::TurnOver
    }

    /// Takes up the command that the parser has just completed; false if it must wait for those before it.
    #[inline]
    fn start_command(&mut self) -> bool {
        let args = self.parser.args(self.input.unconsumed());
        if args.is_empty() {
            return true;
        }
        let command = match Command::decode(args) {
            Ok(command) => command,
            Err(error) => {
                self.commands += 1;
                self.errors += 1;
                self.reply_error(error);
                return true;
            }
        };
        let changes = matches!(&command, Command::Data(data) if !data.is_read());
        if changes && !self.queue.is_empty() {
            return false;
        }
        self.commands += 1;
        let context =
            execute::Context { service: &self.service, config: &self.config, counters: &self.counters };
        let format = self.session.format();
        let session = &mut self.session;
        let mut behind = Vec::new();
        let out = if self.queue.is_empty() { self.output.tail() } else { &mut behind };
        match format.write(out, |reply| execute(&context, session, &command, reply)) {
            Next::Continue => {}
            Next::Wait(later) => {
                self.barrier = changes;
                self.queue.push_running(later);
            }
            Next::Close => self.starting = false,
        }
        if !behind.is_empty() {
            self.queue.push_ready(Encoded(behind));
        }
        true
    }

    fn reply_error(&mut self, message: impl std::fmt::Display) {
        let format = self.session.format();
        if self.queue.is_empty() {
            format.write(self.output.tail(), |reply| reply.error(message));
        } else {
            self.queue.push_ready(format.encode(|reply| reply.error(message)));
        }
    }

    /// Whether the next command may be taken up now.
    #[inline]
    fn may_start(&self) -> bool {
        let in_turn = !self.barrier && (self.held.is_none() || self.queue.is_empty());
        in_turn && self.queue.len() < self.config.pending_max && self.may_buffer()
    }

    /// Whether the peer has taken enough of its replies to get more of them.
    #[inline]
    fn may_buffer(&self) -> bool {
        self.output.unsent().len() + self.queue.ready_bytes() < self.config.output_bytes_max
    }

    fn is_done(&self, stop: Stop) -> bool {
        let no_more = stop == Stop::Closing || (stop == Stop::Incomplete && !self.receiving);
        no_more && self.queue.is_empty() && self.output.unsent().is_empty()
    }

    /// What the connection now waits for that has a limit.
    fn limited_wait(&self, stop: Stop) -> Option<(Wait, Duration)> {
        if !self.output.unsent().is_empty() {
            return Some((Wait::Drain(self.sent_bytes), self.config.drain_timeout));
        }
        if stop != Stop::Incomplete || !self.queue.is_empty() {
            return None;
        }
        if !self.input.is_empty() {
            return Some((Wait::Frame(self.commands), self.config.frame_timeout));
        }
        let idle_timeout = if self.session.is_authenticated() {
            self.config.idle_timeout
        } else {
            Some(self.config.frame_timeout)
        };
        idle_timeout.map(|limit| (Wait::Idle(self.commands), limit))
    }

    fn poll_event(
        &mut self,
        stop: Stop,
        stopping: Pin<&mut impl Future<Output = ()>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Event>> {
        if !self.queue.is_empty() && self.queue.take_ready(self.output.tail(), cx) {
            self.barrier &= !self.queue.is_empty();
            return Poll::Ready(Ok(Event::Sendable));
        }
        if !self.output.unsent().is_empty() && self.stream.poll_write_ready(cx)?.is_ready() {
            return Poll::Ready(Ok(Event::Sendable));
        }
        if self.receiving && stopping.poll(cx).is_ready() {
            return Poll::Ready(Ok(Event::Stopping));
        }
        if self.receiving
            && stop == Stop::Incomplete
            && self.may_buffer()
            && let Poll::Ready(received) = self.poll_receive(cx)
        {
            return Poll::Ready(received.map(Event::Received));
        }
        self.timer.poll(cx).map(|()| Ok(Event::TooSlow))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(self.input.room());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Sends what the socket takes at once.
    fn send(&mut self) -> io::Result<()> {
        while !self.output.unsent().is_empty() {
            match self.stream.try_write(self.output.unsent()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.output.sent(bytes);
                    self.sent_bytes += bytes as u64;
                    add(&self.counters.sent_bytes, bytes as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
