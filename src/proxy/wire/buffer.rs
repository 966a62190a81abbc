//! Buffers that cost nothing while nothing passes: a block is taken when bytes may come, and given back when they have
//! gone on.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Size of a block: what one read takes at most, but for [`LARGE`] ones.
pub const BLOCK: usize = 16 * 1024;
/// Size of the blocks of those who have much to read: fewer calls for the same bytes.
const LARGE: usize = 64 * 1024;
/// How many large ones there are: 8 MiB. Slow readers could hold any number.
const LARGE_BLOCKS: usize = 128;

/// Blocks that nobody uses at the moment, shared by all connections.
pub struct Blocks {
    free: Mutex<Vec<Box<[u8]>>>,
    kept: usize,
    large: Mutex<LargeBlocks>,
}

#[derive(Default)]
struct LargeBlocks {
    free: Vec<Box<[u8]>>,
    /// Those that somebody has.
    used: usize,
}

impl Blocks {
    /// Keeps up to so many blocks for the next user.
    pub fn new(kept: usize) -> Arc<Self> {
        let free = Mutex::new(Vec::with_capacity(kept));
        let large = Mutex::default();
        Arc::new(Self { free, kept, large })
    }

    /// A large one, while there are any.
    fn take_large(&self) -> Option<Box<[u8]>> {
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        if large.used == LARGE_BLOCKS {
            return None;
        }
        large.used += 1;
        let block = large.free.pop();
        Some(block.unwrap_or_else(|| vec![0; LARGE].into_boxed_slice()))
    }

    fn give_large(&self, block: Box<[u8]>) {
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        large.used = large.used.saturating_sub(1);
        large.free.push(block);
    }

    fn take(&self) -> Box<[u8]> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let block = free.pop();
        drop(free);
        block.unwrap_or_else(|| vec![0; BLOCK].into_boxed_slice())
    }

    fn give(&self, block: Box<[u8]>) {
        // Larger ones were made for one long head.
        if block.len() != BLOCK {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.kept {
            free.push(block);
        }
    }
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// So many bytes more.
    More(usize),
    /// The other end sends nothing any more.
    End,
    /// There is no room: somebody must take what is there first.
    Full,
}

/// Bytes that were read and not yet used.
pub struct Buffer {
    blocks: Arc<Blocks>,
    block: Box<[u8]>,
    start: usize,
    end: usize,
    /// Whether the block is one of the large ones.
    is_large: bool,
    /// Whether the last read took all the room: there is probably more.
    was_filled: bool,
}

impl Buffer {
    /// An empty one: it has no block.
    pub fn new(blocks: Arc<Blocks>) -> Self {
        Self {
            blocks,
            block: Box::default(),
            start: 0,
            end: 0,
            is_large: false,
            was_filled: false,
        }
    }

    /// What is there.
    pub fn filled(&self) -> &[u8] {
        self.block.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How much is there.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Takes so many bytes off the front.
    pub fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives the block back, if nothing is in it.
    pub fn rest(&mut self) {
        if self.is_empty() && !self.block.is_empty() {
            let block = std::mem::take(&mut self.block);
            self.give(block);
        }
    }

    fn give(&mut self, block: Box<[u8]>) {
        if std::mem::take(&mut self.is_large) {
            self.blocks.give_large(block);
        } else {
            self.blocks.give(block);
        }
    }

    /// Whether no byte more fits.
    pub fn is_full(&self) -> bool {
        self.len() == self.block.len().max(BLOCK)
    }

    /// Makes room for twice as much, up to a limit. Says whether there was any to make.
    pub fn grow(&mut self, limit: usize) -> bool {
        let size = self.block.len().saturating_mul(2).clamp(BLOCK, limit);
        if size <= self.block.len() {
            return false;
        }
        let mut larger = vec![0; size].into_boxed_slice();
        let filled = self.filled();
        let length = filled.len();
        if let Some(room) = larger.get_mut(..length) {
            room.copy_from_slice(filled);
        }
        let old = std::mem::replace(&mut self.block, larger);
        (self.start, self.end) = (0, length);
        if !old.is_empty() {
            self.give(old);
        }
        true
    }

    /// Puts bytes in that came another way, as far as they fit.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        self.make_room();
        let Some(room) = self.block.get_mut(self.end..) else {
            return 0;
        };
        let count = room.len().min(bytes.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..count), bytes.get(..count)) {
            room.copy_from_slice(bytes);
        }
        self.end += count;
        count
    }

    /// Reads once, into what room there is.
    pub fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Fill>> {
        self.make_room();
        let Some(room) = self
            .block
            .get_mut(self.end..)
            .filter(|room| !room.is_empty())
        else {
            return Poll::Ready(Ok(Fill::Full));
        };
        let size = room.len();
        let mut read = ReadBuf::new(room);
        let polled = Pin::new(reader).poll_read(cx, &mut read);
        let count = read.filled().len();
        match polled {
            Poll::Ready(Ok(())) if count > 0 => {
                self.end += count;
                self.was_filled = count == size && size >= BLOCK;
                Poll::Ready(Ok(Fill::More(count)))
            }
            Poll::Ready(result) => {
                self.rest();
                Poll::Ready(result.map(|()| Fill::End))
            }
            Poll::Pending => {
                self.rest();
                Poll::Pending
            }
        }
    }

    fn make_room(&mut self) {
        if self.was_filled && !self.is_large && self.is_empty() {
            self.rest();
            if let Some(block) = self.blocks.take_large() {
                (self.block, self.is_large) = (block, true);
            }
        }
        if self.block.is_empty() {
            self.block = self.blocks.take();
        } else if self.end == self.block.len() && self.start > 0 {
            self.block.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        (self.start, self.end) = (0, 0);
        self.rest();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;

    use super::*;

    async fn fill(buffer: &mut Buffer, reader: &mut &[u8]) -> Fill {
        poll_fn(|cx| buffer.poll_fill(reader, cx)).await.unwrap()
    }

    #[tokio::test]
    async fn an_empty_buffer_gives_its_block_to_the_next() {
        let blocks = Blocks::new(4);
        let (mut first, mut second) = (Buffer::new(blocks.clone()), Buffer::new(blocks.clone()));
        assert_eq!(fill(&mut first, &mut &b"ab"[..]).await, Fill::More(2));
        first.rest();
        assert_eq!(first.filled(), b"ab", "what is there stays");
        first.consume(2);
        first.rest();
        assert_eq!(blocks.free.lock().unwrap().len(), 1);
        assert_eq!(fill(&mut second, &mut &b"c"[..]).await, Fill::More(1));
        assert_eq!(blocks.free.lock().unwrap().len(), 0);
        drop(second);
        assert_eq!(blocks.free.lock().unwrap().len(), 1);
        let nothing = poll_fn(|cx| first.poll_fill(&mut tokio::io::empty(), cx)).await;
        assert_eq!(nothing.unwrap(), Fill::End);
        assert_eq!(blocks.free.lock().unwrap().len(), 1, "an end holds none");
    }

    #[tokio::test]
    async fn whoever_has_much_to_read_gets_a_large_block_as_long_as_there_are_any() {
        let blocks = Blocks::new(1);
        let bytes = vec![7; 2 * LARGE];
        let mut all = Vec::new();
        for number in 0..=LARGE_BLOCKS {
            let mut buffer = Buffer::new(blocks.clone());
            let mut reader = &bytes[..];
            assert_eq!(fill(&mut buffer, &mut reader).await, Fill::More(BLOCK));
            buffer.consume(BLOCK);
            let expected = if number < LARGE_BLOCKS { LARGE } else { BLOCK };
            assert_eq!(fill(&mut buffer, &mut reader).await, Fill::More(expected));
            assert_eq!(buffer.filled(), &bytes[..expected]);
            all.push(buffer);
        }
        // They come back, and a little to read takes a small one.
        drop(all);
        assert_eq!(blocks.large.lock().unwrap().used, 0);
        let mut buffer = Buffer::new(blocks.clone());
        assert_eq!(fill(&mut buffer, &mut &bytes[..5]).await, Fill::More(5));
        buffer.consume(5);
        assert_eq!(fill(&mut buffer, &mut &bytes[..5]).await, Fill::More(5));
        assert_eq!(blocks.large.lock().unwrap().used, 0);
    }

    #[tokio::test]
    async fn a_full_buffer_reads_on_only_when_it_may_grow() {
        let mut buffer = Buffer::new(Blocks::new(0));
        let bytes = vec![7; 3 * BLOCK];
        let mut reader = &bytes[..];
        assert_eq!(fill(&mut buffer, &mut reader).await, Fill::More(BLOCK));
        assert_eq!(fill(&mut buffer, &mut reader).await, Fill::Full);
        assert!(buffer.is_full());
        assert!(buffer.grow(2 * BLOCK) && !buffer.grow(2 * BLOCK));
        assert_eq!(fill(&mut buffer, &mut reader).await, Fill::More(BLOCK));
        assert_eq!(fill(&mut buffer, &mut reader).await, Fill::Full);
        assert_eq!(buffer.filled(), &bytes[..2 * BLOCK]);
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(steps in proptest::collection::vec((0..20_000usize, 0..20_000usize), 1..20)) {
            let mut buffer = Buffer::new(Blocks::new(1));
            let (mut put, mut taken) = (0usize, 0usize);
            for (more, less) in steps {
                let bytes: Vec<u8> = (put..put + more).map(|at| (at % 251) as u8).collect();
                put += buffer.put(&bytes);
                let less = less.min(buffer.len());
                let expected: Vec<u8> = (taken..taken + less).map(|at| (at % 251) as u8).collect();
                prop_assert_eq!(&buffer.filled()[..less], &expected[..]);
                buffer.consume(less);
                taken += less;
                prop_assert_eq!(buffer.len(), put - taken);
            }
        }
    }
}
