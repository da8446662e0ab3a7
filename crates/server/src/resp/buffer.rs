//! The two buffers of a connection.

/// First size of a read buffer: a pipeline of about a hundred reads.
const INPUT_BYTES_INITIAL: usize = 4 << 10;
/// Size to which a read buffer grows for throughput; a larger one is for a larger frame and given back after it.
const INPUT_BYTES_RETAINED: usize = 64 << 10;
/// Capacity that a write buffer keeps between bursts.
const OUTPUT_BYTES_RETAINED: usize = 64 << 10;

/// Bytes received and not yet consumed. The unconsumed part moves to the front at most once per frame, and the buffer
/// grows with what has arrived, not with what was announced.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// What is unconsumed.
    #[inline]
    pub(super) fn unconsumed(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Whether everything was consumed.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops `bytes` from the front.
    #[inline]
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Room for the next read, never empty.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == 0 && self.bytes.len() > INPUT_BYTES_RETAINED {
            self.bytes = vec![0; INPUT_BYTES_RETAINED];
        }
        if self.end == self.bytes.len() {
            self.bytes.resize((self.end * 2).max(INPUT_BYTES_INITIAL), 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Takes `bytes` that were read into [`room`](Self::room). A read that filled it makes the next one larger.
    pub(super) fn received(&mut self, bytes: usize) {
        self.end += bytes;
        if self.end == self.bytes.len() && self.bytes.len() < INPUT_BYTES_RETAINED {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
    }
}

/// Bytes to send.
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    sent: usize,
}

impl Output {
    /// Where replies are appended.
    #[inline]
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What is still to be sent.
    #[inline]
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Takes note that `bytes` were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent < self.bytes.len() {
            return;
        }
        self.sent = 0;
        if self.bytes.capacity() > OUTPUT_BYTES_RETAINED {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(input: &mut Input, bytes: &[u8]) {
        let room = input.room();
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
        input.received(len);
    }

    #[test]
    fn the_unconsumed_part_survives_growth() {
        let mut input = Input::default();
        receive(&mut input, b"abc");
        input.consume(1);
        let mut expected = b"bc".to_vec();
        while expected.len() < 200_000 {
            let before = input.unconsumed().len();
            receive(&mut input, &[b'x'; 10_000]);
            expected.resize(expected.len() + input.unconsumed().len() - before, b'x');
        }
        assert_eq!(input.unconsumed(), expected);
    }

    #[test]
    fn the_room_of_a_large_frame_is_given_back() {
        let mut input = Input::default();
        while input.unconsumed().len() < 1_000_000 {
            receive(&mut input, &[b'x'; 10_000]);
        }
        input.consume(input.unconsumed().len());
        assert!(input.is_empty() && input.room().len() == INPUT_BYTES_RETAINED);
    }

    #[test]
    fn output_is_sent_in_parts_and_shrinks() {
        let mut output = Output::default();
        output.tail().extend_from_slice(&[b'x'; 100_000]);
        output.sent(99_999);
        assert_eq!(output.unsent(), b"x");
        output.sent(1);
        assert!(output.unsent().is_empty() && output.bytes.capacity() == 0);
    }
}
