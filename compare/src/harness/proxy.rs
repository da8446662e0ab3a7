//! The one address of a Redis that fails over, as managed services give it: it leads to the primary, whoever that is.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Result;

/// The address, and where it leads.
pub(super) struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Nowhere, while there is no primary.
    leads_to: Option<u16>,
    open: Vec<TcpStream>,
}

impl Proxy {
    pub(super) fn start(leads_to: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State { leads_to: Some(leads_to), open: Vec::new() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A refused connection is one that is closed at once.
                let _ = pump(&shared, client);
            }
        });
        Ok(Self { port, state })
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends every connection; new ones are refused until it leads somewhere.
    pub(super) fn cut(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.leads_to = None;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Leads new connections to this port.
    pub(super) fn lead_to(&self, port: u16) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).leads_to = Some(port);
    }
}

fn pump(state: &Mutex<State>, client: TcpStream) -> io::Result<()> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(port) = state.leads_to else { return client.shutdown(Shutdown::Both) };
    let server = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        state.open.push(stream.try_clone()?);
    }
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server.try_clone()?, client.try_clone()?)]
    {
        thread::spawn(move || {
            let (mut from, mut to) = (from, to);
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
