//! Watches the memory of the tier's servers: full ones evict what nodes have shared, and have no room for copies.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::Value;
use trueup_core::{
    env::{self, Task},
    tier::RemoteMemory,
};

use super::{check::MEMORY_SHARE_MAX, map::text, server::Server, servers::Servers};

/// How often servers are asked.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a server has to tell.
const TELL_WITHIN: Duration = Duration::from_secs(1);
/// How far below the bound the share must be before all is well again.
const HYSTERESIS: f64 = 0.05;

/// Asks all servers now and then, for as long as they are held elsewhere.
pub(super) fn watch(servers: &Arc<Servers>) -> Task {
    let servers = Arc::downgrade(servers);
    env::spawn("remote tier memory", async move {
        while let Some(held) = servers.upgrade() {
            let map = held.map();
            drop(held);
            for server in map.servers.iter().filter(|server| server.is_usable()) {
                look(server).await;
            }
            drop(map);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
}

async fn look(server: &Server) {
    let mut pipeline = redis::Pipeline::with_capacity(1);
    pipeline.cmd("INFO").arg("memory");
    let Some(answers) = server.ask(&pipeline, 1, TELL_WITHIN).await else { return };
    let Some(memory) = answers.first().and_then(read) else { return };
    *server.memory.lock() = Some(memory);
    let share = memory.share().unwrap_or(0.0);
    let was_high = server.memory_is_high.load(Ordering::Relaxed);
    // A share that moves about the bound is told once.
    let is_high = share > if was_high { MEMORY_SHARE_MAX - HYSTERESIS } else { MEMORY_SHARE_MAX };
    server.memory_is_high.store(is_high, Ordering::Relaxed);
    if is_high && !was_high {
        tracing::warn!(
            server = %server.endpoint,
            used_bytes = memory.used_bytes,
            max_bytes = memory.max_bytes,
            "more than 60 % of a server of the remote tier is used: give it more memory, or shorten `l2_life`"
        );
    }
}

fn read(info: &Value) -> Option<RemoteMemory> {
    let info = text(info)?;
    let number = |name: &str| {
        info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':')?.parse().ok())
    };
    Some(RemoteMemory { used_bytes: number("used_memory")?, max_bytes: number("maxmemory")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_read() {
        let info = "# Memory\r\nused_memory:700\r\nused_memory_human:700B\r\nmaxmemory:1000\r\nmaxmemory_policy:allkeys-lfu\r\n";
        let memory = read(&Value::BulkString(info.into())).unwrap();
        assert_eq!((memory.used_bytes, memory.max_bytes, memory.share()), (700, 1_000, Some(0.7)));
        assert_eq!(RemoteMemory { used_bytes: 7, max_bytes: 0 }.share(), None);
        assert_eq!(read(&Value::BulkString("used_memory:x".into())), None);
    }
}
