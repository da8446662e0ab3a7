//! The way between an application and a server that is in truth a part of the same process.

use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng};

use crate::proxy::one_way;

/// Waits as calls over a network have them, by the seed. Real servers stand behind proxies that wait alike.
#[derive(Debug)]
pub(super) struct Network {
    dice: Box<Mutex<StdRng>>,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self { dice: Box::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// One way of a call.
    pub(super) async fn hop(&self) {
        let wait = one_way(&mut self.dice.lock());
        if wait.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(wait).await;
        }
    }
}
