//! Writes that do not replace a newer entry by an older one.

use std::time::Duration;

use redis::{Cmd, Script};
use trueup_core::entry::order;

/// Room for the short arguments of a write.
const NUMBERS_BYTES: usize = 32;

/// Writes the entry unless the server holds a newer one of the same class and epoch.
///
/// Sent as its digest; a server that does not know it yet is sent the text once. It looks at the leading bytes of what is
/// stored, at fixed offsets: a stored value that is no envelope, or can't be compared, is replaced.
#[derive(Debug)]
pub(super) struct PutScript {
    text: String,
    script: Script,
}

impl PutScript {
    pub(super) fn new() -> Self {
        // Lua counts from 1 and includes the end.
        let (format, world) = (order::FORMAT, order::WORLD);
        let positions = order::POSITIONS.start + 1;
        let prefix = order::PREFIX_BYTES;
        let text = format!(
            "local old = redis.pcall('GETRANGE', KEYS[1], 0, {last})
local new = ARGV[1]
if type(old) == 'string' and #old == {prefix}
  and string.sub(old, {format_from}, {format_to}) == string.sub(new, {format_from}, {format_to})
  and string.sub(old, {world_from}, {world_to}) == string.sub(new, {world_from}, {world_to}) then
  local ul, uh, pl, ph = struct.unpack('<I4I4I4I4', old, {positions})
  local vl, vh, ql, qh = struct.unpack('<I4I4I4I4', new, {positions})
  if uh ~= vh then if uh > vh then return 0 end
  elseif ul ~= vl then if ul > vl then return 0 end
  elseif ph ~= qh then if ph > qh then return 0 end
  elseif pl > ql then return 0 end
end
return redis.call('SET', KEYS[1], new, 'PX', ARGV[2])",
            last = prefix - 1,
            format_from = format.start + 1,
            format_to = format.end,
            world_from = world.start + 1,
            world_to = world.end,
        );
        Self { script: Script::new(&text), text }
    }

    /// The write, by the script's digest.
    pub(super) fn by_digest(&self, key: &str, envelope: &[u8], life: Duration) -> Cmd {
        Self::arguments("EVALSHA", self.script.get_hash(), key, envelope, life)
    }

    /// The write, with the script's text, which the server then knows.
    pub(super) fn by_text(&self, key: &str, envelope: &[u8], life: Duration) -> Cmd {
        Self::arguments("EVAL", &self.text, key, envelope, life)
    }

    fn arguments(command: &str, script: &str, key: &str, envelope: &[u8], life: Duration) -> Cmd {
        let bytes = command.len() + script.len() + key.len() + envelope.len() + NUMBERS_BYTES;
        let mut made = Cmd::with_capacity(6, bytes);
        made.arg(command).arg(script).arg(1).arg(key).arg(envelope).arg(millis(life));
        made
    }
}

/// The write that replaces whatever is there.
pub(super) fn plain_put(key: &str, envelope: &[u8], life: Duration) -> Cmd {
    let mut made = Cmd::with_capacity(5, key.len() + envelope.len() + NUMBERS_BYTES);
    made.arg("SET").arg(key).arg(envelope).arg("PX").arg(millis(life));
    made
}

/// A life as the server takes it: 1 ms at least, and short enough for its own arithmetic.
pub(super) fn millis(life: Duration) -> u64 {
    /// 100 years.
    const MOST_MS: u64 = 100 * 366 * 24 * 3_600 * 1_000;
    u64::try_from(life.as_millis()).unwrap_or(MOST_MS).clamp(1, MOST_MS)
}
