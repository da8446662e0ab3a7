//! A wire between a bench and a server on the same machine: what is sent arrives a fixed time later, in order, however much
//! is under way. Over the loopback a call costs processor time alone; where servers stand beside each other it costs a wait,
//! during which other calls go on. Threads, because a timer of the runtime counts in whole milliseconds.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use trueup_core::env::{Clock, Nanos};

/// How long a byte is on its way, in each direction: servers of one region, half a millisecond there and back.
pub(crate) const DELAY: Duration = Duration::from_micros(250);

const PIECE_BYTES: usize = 64 * 1024;

/// Starts a wire to a port of 127.0.0.1 and returns the port at its near end. It lies there as long as the process runs.
pub(crate) fn link_to(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let near = listener.local_addr().expect("an address").port();
    let far = SocketAddr::from(([127, 0, 0, 1], port));
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let Ok(server) = TcpStream::connect(far) else { continue };
            for (from, to) in [(&client, &server), (&server, &client)] {
                to.set_nodelay(true).expect("a socket");
                carry(from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
            }
        }
    });
    near
}

/// Carries one direction until either side ends.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let clock = Clock::system();
    let (under_way, arriving) = mpsc::channel::<(Nanos, Vec<u8>)>();
    let reading = clock.clone();
    thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(length) = from.read(&mut piece) {
            if length == 0 || under_way.send((reading.now().after(DELAY), piece[..length].to_vec())).is_err()
            {
                break;
            }
        }
    });
    thread::spawn(move || {
        while let Ok((due, piece)) = arriving.recv() {
            thread::sleep(due.since(clock.now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        // The other side learns of it by the end of its stream.
        _ = to.shutdown(Shutdown::Both);
    });
}
