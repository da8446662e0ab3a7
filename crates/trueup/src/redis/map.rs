//! Which server holds which key: the hash slots of a cluster, as its servers tell them.

use std::sync::Arc;

use crc::{CRC_16_XMODEM, Crc, Table};
use redis::Value;
use trueup_core::tier::RemoteKey;

use super::server::Server;
use crate::plan::RemoteNode;

/// Hash slots of a cluster.
pub(super) const SLOTS: usize = 16_384;
/// Stands for no server.
const NOBODY: u16 = u16::MAX;

/// Sixteen bytes at a time: a look-up of many keys computes as many slots before the first command goes out.
static SLOT: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);

/// The slot of a key by its name. No name of ours holds a brace, so the whole name counts.
pub(super) fn slot_of(name: &str) -> u16 {
    SLOT.checksum(name.as_bytes()) % SLOTS as u16
}

/// The servers, and what each holds.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) servers: Vec<Arc<Server>>,
    /// By slot, an index of `servers`; none where one server holds everything.
    owners: Option<Box<[u16]>>,
}

impl Map {
    /// One server, which holds everything.
    pub(super) fn of_one(server: Arc<Server>) -> Self {
        Self { servers: vec![server], owners: None }
    }

    /// A cluster of which nothing is known yet.
    pub(super) fn unknown() -> Self {
        Self { servers: Vec::new(), owners: Some(vec![NOBODY; SLOTS].into()) }
    }

    /// The cluster as `view` has it, and `others` that hold nothing yet. `server` finds or makes the server at an address.
    pub(super) fn of_view(
        view: &View,
        others: &[RemoteNode],
        mut server: impl FnMut(&RemoteNode) -> Arc<Server>,
    ) -> Self {
        let mut servers: Vec<Arc<Server>> = Vec::new();
        let mut owners = vec![NOBODY; SLOTS];
        let mut index_of = |node: &RemoteNode| {
            let known = servers.iter().position(|known| known.node == *node);
            known.unwrap_or_else(|| {
                servers.push(server(node));
                servers.len() - 1
            })
        };
        for range in &view.ranges {
            let index = u16::try_from(index_of(&range.primary)).unwrap_or(NOBODY);
            owners[usize::from(range.first)..=usize::from(range.last)].fill(index);
        }
        others.iter().for_each(|node| {
            index_of(node);
        });
        Self { servers, owners: Some(owners.into()) }
    }

    /// The server that holds `slot`, as far as is known.
    pub(super) fn owner(&self, slot: u16) -> Option<&Arc<Server>> {
        match &self.owners {
            None => self.servers.first(),
            Some(owners) => self.servers.get(usize::from(*owners.get(usize::from(slot))?)),
        }
    }

    /// The server at an address.
    pub(super) fn at(&self, node: &RemoteNode) -> Option<&Arc<Server>> {
        self.servers.iter().find(|server| server.node == *node)
    }

    /// Whether a server holds any slot.
    pub(super) fn holds_slots(&self, server: &Arc<Server>) -> bool {
        let Some(owners) = &self.owners else { return true };
        let index = self.servers.iter().position(|known| Arc::ptr_eq(known, server));
        index.is_some_and(|index| owners.iter().any(|owner| usize::from(*owner) == index))
    }

    pub(super) const fn is_cluster(&self) -> bool {
        self.owners.is_some()
    }

    /// The slot of a key; none where there are no slots.
    pub(super) fn slot(&self, key: &RemoteKey) -> Option<u16> {
        self.is_cluster().then(|| slot_of(&key.name()))
    }
}

/// Slots that one primary holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    first: u16,
    last: u16,
    primary: RemoteNode,
}

/// The cluster as one of its servers sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// The highest configuration epoch that the server knows: of two views the later one.
    epoch: u64,
    is_well: bool,
    ranges: Vec<Range>,
    /// Servers that hold copies.
    pub(super) replicas: Vec<RemoteNode>,
}

/// The commands whose answers [`View::read`] reads.
pub(super) fn view_commands() -> redis::Pipeline {
    let mut pipeline = redis::Pipeline::with_capacity(2);
    pipeline.cmd("CLUSTER").arg("SLOTS").cmd("CLUSTER").arg("INFO");
    pipeline
}

impl View {
    /// Reads what the server `asked` said; none if it makes no sense.
    pub(super) fn read(answers: &[Value], asked: &RemoteNode) -> Option<Self> {
        let [Value::Array(slots), info] = answers else { return None };
        let info = text(info)?;
        let field =
            |name: &str| info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
        let mut view = Self {
            epoch: field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0),
            is_well: field("cluster_state") == Some("ok"),
            ranges: Vec::with_capacity(slots.len()),
            replicas: Vec::new(),
        };
        for range in slots {
            let Value::Array(parts) = range else { return None };
            let [Value::Int(first), Value::Int(last), primary, replicas @ ..] = parts.as_slice() else {
                return None;
            };
            let slot = |number: i64| u16::try_from(number).ok().filter(|slot| usize::from(*slot) < SLOTS);
            let (first, last) = (slot(*first)?, slot(*last)?);
            // A primary whose address nobody knows yet can't be asked.
            if let Some(primary) = node(primary, asked).filter(|_| first <= last) {
                view.ranges.push(Range { first, last, primary });
            }
            view.replicas.extend(replicas.iter().filter_map(|replica| node(replica, asked)));
        }
        view.replicas.sort_unstable();
        view.replicas.dedup();
        Some(view)
    }

    /// The view to go by: of those whose primaries answer for the most slots, the latest.
    pub(super) fn best(views: Vec<Self>, is_down: impl Fn(&RemoteNode) -> bool) -> Option<Self> {
        views.into_iter().filter(|view| !view.ranges.is_empty()).max_by_key(|view| {
            let answered = view.ranges.iter().filter(|range| !is_down(&range.primary));
            let slots: usize = answered.map(|range| usize::from(range.last - range.first) + 1).sum();
            (slots, view.is_well, view.epoch)
        })
    }
}

/// A server as `CLUSTER SLOTS` names it: host and port first. A server that does not know its own address is where it was
/// asked.
fn node(value: &Value, asked: &RemoteNode) -> Option<RemoteNode> {
    let Value::Array(parts) = value else { return None };
    let [host, Value::Int(port), ..] = parts.as_slice() else { return None };
    let host = match host {
        Value::Nil => asked.host.clone(),
        host => match text(host)? {
            "" => asked.host.clone(),
            "?" => return None,
            host => host.to_owned(),
        },
    };
    Some(RemoteNode { host, port: u16::try_from(*port).ok().filter(|port| *port != 0)? })
}

/// A text, however the server's protocol sends it.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// Slot and address of a redirection, such as `3999 127.0.0.1:7001`.
pub(super) fn redirection(details: &str, asked: &RemoteNode) -> Option<RemoteNode> {
    let (_slot, address) = details.split_once(' ')?;
    let (host, port) = address.trim().rsplit_once(':')?;
    let host = if host.is_empty() { &asked.host } else { host };
    Some(RemoteNode { host: host.to_owned(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> RemoteNode {
        RemoteNode { host: "h".to_owned(), port }
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn server(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), bulk("id"), Value::Array(Vec::new())])
    }

    fn answers(epoch: u64, state: &str, ranges: Vec<(i64, i64, Value)>) -> Vec<Value> {
        let range = |(first, last, primary)| {
            let replica = server(bulk("h"), 9);
            Value::Array(vec![Value::Int(first), Value::Int(last), primary, replica])
        };
        let info =
            format!("cluster_state:{state}\r\ncluster_current_epoch:{epoch}\r\ncluster_my_epoch:1\r\n");
        vec![Value::Array(ranges.into_iter().map(range).collect()), bulk(&info)]
    }

    fn view(epoch: u64, primary: u16) -> View {
        let ranges = vec![(0, 16_383, server(bulk("h"), i64::from(primary)))];
        View::read(&answers(epoch, "ok", ranges), &at(1)).unwrap()
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        // The specification's own example, and others as `CLUSTER KEYSLOT` gives them, shorter and longer than a step.
        assert_eq!(SLOT.checksum(b"123456789"), 0x31C3);
        let long = format!("trueup:products:ab{}01", "0".repeat(60));
        assert_eq!((slot_of("foo"), slot_of("trueup:user:00"), slot_of(&long)), (12_182, 14_428, 7_235));
    }

    #[test]
    fn a_view_is_read_whatever_way_a_server_names_itself() {
        let ranges = vec![
            (0, 99, server(bulk("a"), 1)),
            (100, 100, server(Value::Nil, 2)),
            (101, 200, server(bulk(""), 3)),
            (201, 300, server(bulk("?"), 4)),
        ];
        let view = View::read(&answers(7, "ok", ranges), &at(6379)).unwrap();
        let seen: Vec<_> = view.ranges.iter().map(|r| (r.first, r.last, r.primary.to_string())).collect();
        let expected = [(0, 99, "a:1"), (100, 100, "h:2"), (101, 200, "h:3")];
        assert_eq!(seen, expected.map(|(first, last, node)| (first, last, node.to_owned())));
        assert_eq!((view.epoch, view.is_well, view.replicas), (7, true, vec![at(9)]));
    }

    #[test]
    fn nonsense_is_no_view() {
        let well = answers(1, "ok", vec![(0, 1, server(bulk("a"), 1))]);
        assert!(View::read(&well, &at(1)).is_some());
        assert!(View::read(&well[..1], &at(1)).is_none());
        assert!(View::read(&[Value::Nil, Value::Nil], &at(1)).is_none());
        assert!(View::read(&answers(1, "ok", vec![(0, 16_384, server(bulk("a"), 1))]), &at(1)).is_none());
        assert!(View::read(&answers(1, "ok", vec![(-1, 4, server(bulk("a"), 1))]), &at(1)).is_none());
        let backwards = View::read(&answers(1, "ok", vec![(5, 4, server(bulk("a"), 1))]), &at(1)).unwrap();
        assert!(backwards.ranges.is_empty());
    }

    #[test]
    fn the_latest_view_counts_unless_its_primaries_are_down() {
        let nobody_is_down = |_: &RemoteNode| false;
        let best = View::best(vec![view(3, 1), view(5, 2), view(4, 3)], nobody_is_down).unwrap();
        assert_eq!(best, view(5, 2));
        let first_is_down = |node: &RemoteNode| node.port == 1;
        assert_eq!(View::best(vec![view(9, 1), view(4, 2)], first_is_down).unwrap(), view(4, 2));
        assert_eq!(View::best(Vec::new(), nobody_is_down), None);
    }

    #[test]
    fn redirections_name_a_server() {
        assert_eq!(redirection("3999 h:6381", &at(1)), Some(at(6381)));
        assert_eq!(redirection("3999 :6381", &at(1)), Some(at(6381)), "where it was asked");
        let six = RemoteNode { host: "::1".to_owned(), port: 5 };
        assert_eq!(redirection("3999 ::1:5", &at(1)), Some(six));
        assert_eq!(redirection("3999", &at(1)), None);
    }
}
