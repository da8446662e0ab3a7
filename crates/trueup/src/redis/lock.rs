//! Fill locks: `SET NX PX`, extended and released by their owner alone.
//!
//! A lock lies on the server that holds its entry, under a name of its own: `trueup:lock:{NAME OF THE ENTRY}:WORLD`, whose braces
//! put it into the same slot.

use std::time::Duration;

use compact_str::{CompactString, ToCompactString as _, format_compact};
use redis::{Cmd, Script, Value};
use trueup_core::{
    env::BoxFuture,
    tier::{Claim, FillLocks, LockKey, LockOwner, RemoteError, RemoteOperation, RemoteResult},
};

use super::{
    batch::{Ask, Job, PutHow},
    map::slot_of,
    script::millis,
    tier::RedisTier,
};

/// What the claiming script answers if the lock is the claimer's; no time that is left.
const MINE: i64 = -10;
/// What it answers where the server does not tell how long the lock lasts.
const UNTOLD: i64 = -20;
/// What a server answers for a key that has no end.
const ENDLESS: i64 = -1;

/// `SET NX`, and else how long the lock lasts. The server may not allow `PTTL`.
const CLAIM: &str = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return -10 end
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return -10 end
local left = redis.pcall('PTTL', KEYS[1])
if type(left) == 'number' then return left end
return -20";
const EXTEND: &str = "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'XX', 'PX', ARGV[2])
return 1";
const RELEASE: &str = "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])";

/// What is done to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockAct {
    Claim,
    Extend,
    Release,
}

/// The scripts, one for each act.
#[derive(Debug)]
pub(super) struct LockScripts([(&'static str, Script); 3]);

impl LockScripts {
    pub(super) fn new() -> Self {
        Self([CLAIM, EXTEND, RELEASE].map(|text| (text, Script::new(text))))
    }

    /// The command, by the script's digest or with its text; plainly only a claim can be made.
    pub(super) fn command(
        &self,
        act: LockAct,
        how: PutHow,
        name: &str,
        owner: LockOwner,
        life: Duration,
    ) -> Cmd {
        let (text, script) = &self.0[act as usize];
        let owner = owner.to_compact_string();
        match how {
            PutHow::Digest => arguments(redis::cmd("EVALSHA").arg(script.get_hash()), name, &owner, life),
            PutHow::Text => arguments(redis::cmd("EVAL").arg(text), name, &owner, life),
            PutHow::Plain => match act {
                LockAct::Claim => redis::cmd("SET")
                    .arg(name)
                    .arg(owner.as_str())
                    .arg("NX")
                    .arg("PX")
                    .arg(millis(life))
                    .clone(),
                // Without a script nobody can know whose lock it is: it ends by itself.
                LockAct::Extend | LockAct::Release => redis::cmd("PING"),
            },
        }
    }
}

fn arguments(command: &mut Cmd, name: &str, owner: &CompactString, life: Duration) -> Cmd {
    command.arg(1).arg(name).arg(owner.as_str()).arg(millis(life)).clone()
}

/// What a claim's answer says; none for one that makes no sense.
fn claimed(answer: &Value, life: Duration) -> Option<Claim> {
    match answer {
        Value::Okay | Value::Int(MINE) => Some(Claim::Mine),
        // By plain `SET NX`, or untold: as long as we would have taken it.
        Value::Nil | Value::Int(UNTOLD) => Some(Claim::Held { left: life }),
        Value::Int(ENDLESS) => Some(Claim::Held { left: Duration::MAX }),
        Value::Int(left_ms) => {
            // It has ended between two commands of the script: below zero.
            Some(Claim::Held { left: Duration::from_millis(u64::try_from(*left_ms).unwrap_or(0)) })
        }
        _ => None,
    }
}

impl RedisTier {
    async fn act(
        &self,
        act: LockAct,
        key: &LockKey,
        owner: LockOwner,
        life: Duration,
    ) -> RemoteResult<(Value, u16)> {
        let (operation, deadline) = (RemoteOperation::Lock, self.deadline(RemoteOperation::Lock));
        let entry = key.entry.to_compact_string();
        // The slot of the entry: that of what stands in the braces.
        let slot = if self.servers.map().is_cluster() { slot_of(&entry) } else { 0 };
        let ask = Ask::Lock { act, owner, life, how: PutHow::Digest };
        let job = Job { index: 0, name: lock_name(&entry, &key.world), slot, ask };
        let outcome = self.servers.run(vec![job], operation, &deadline).await.pop();
        let nothing = || RemoteError::Protocol {
            operation,
            endpoint: self.servers.name().clone(),
            reason: CompactString::const_new("no outcome"),
        };
        Ok((outcome.unwrap_or_else(|| Err(nothing()))?, slot))
    }
}

/// The lock's name, in the slot of its entry.
fn lock_name(entry: &str, world: &[u8; 16]) -> CompactString {
    format_compact!("trueup:lock:{{{entry}}}:{:032x}", u128::from_be_bytes(*world))
}

impl FillLocks for RedisTier {
    fn claim<'a>(
        &'a self,
        key: &'a LockKey,
        owner: LockOwner,
        life: Duration,
    ) -> BoxFuture<'a, RemoteResult<Claim>> {
        Box::pin(async move {
            let (answer, slot) = self.act(LockAct::Claim, key, owner, life).await?;
            claimed(&answer, life).ok_or_else(|| self.nonsense(RemoteOperation::Lock, &answer, slot))
        })
    }

    fn extend<'a>(
        &'a self,
        key: &'a LockKey,
        owner: LockOwner,
        life: Duration,
    ) -> BoxFuture<'a, RemoteResult<bool>> {
        Box::pin(async move {
            match self.act(LockAct::Extend, key, owner, life).await? {
                (Value::Int(extended), _) => Ok(extended == 1),
                // A server without scripts: nobody knows.
                (Value::SimpleString(_), _) => Ok(false),
                (answer, slot) => Err(self.nonsense(RemoteOperation::Lock, &answer, slot)),
            }
        })
    }

    fn release<'a>(&'a self, key: &'a LockKey, owner: LockOwner) -> BoxFuture<'a, RemoteResult<()>> {
        Box::pin(async move {
            match self.act(LockAct::Release, key, owner, Duration::ZERO).await? {
                (Value::Int(_) | Value::SimpleString(_), _) => Ok(()),
                (answer, slot) => Err(self.nonsense(RemoteOperation::Lock, &answer, slot)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_lock_and_entry_are_of_one_slot() {
        let name = lock_name("trueup:user:00", &[0xab; 16]);
        assert_eq!(name, format!("trueup:lock:{{trueup:user:00}}:{}", "ab".repeat(16)));
        let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        assert_eq!(tag, Some("trueup:user:00"), "what a cluster hashes");
    }

    #[test]
    fn each_answer_of_a_claim_has_one_meaning() {
        let life = Duration::from_millis(30);
        let held = |left| Some(Claim::Held { left });
        assert_eq!(claimed(&Value::Okay, life), Some(Claim::Mine));
        assert_eq!(claimed(&Value::Int(MINE), life), Some(Claim::Mine));
        assert_eq!(claimed(&Value::Nil, life), held(life));
        assert_eq!(claimed(&Value::Int(UNTOLD), life), held(life));
        assert_eq!(claimed(&Value::Int(ENDLESS), life), held(Duration::MAX));
        assert_eq!(claimed(&Value::Int(-2), life), held(Duration::ZERO));
        assert_eq!(claimed(&Value::Int(7), life), held(Duration::from_millis(7)));
        assert_eq!(claimed(&Value::Array(Vec::new()), life), None);
    }
}
