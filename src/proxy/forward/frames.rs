//! Where frames of a WebSocket begin (RFC 6455), in bytes that pass in pieces. Nothing is kept but a place.

/// What comes next in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The first byte of a frame.
    First,
    /// The byte with mask and length.
    Second,
    /// So many bytes of a long length, what was read of it, and whether a mask follows.
    Length(u8, u64, bool),
    /// So many bytes of the mask, and then so many of data.
    Mask(u8, u64),
    /// So many bytes of data.
    Data(u64),
}

/// Follows the frames of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Frames {
    next: Next,
}

impl Default for Frames {
    fn default() -> Self {
        Self { next: Next::First }
    }
}

impl Frames {
    /// Whether the next byte begins a frame.
    pub fn is_between(self) -> bool {
        self.next == Next::First
    }

    /// Follows these bytes. Says whether a frame with data began: pings and the like have none.
    pub fn pass(&mut self, bytes: &[u8]) -> bool {
        let mut has_data = false;
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            // Continuation, text, binary.
            has_data |= self.is_between() && first & 0x0f <= 2;
            rest = rest
                .get(self.step(*first, rest.len())..)
                .unwrap_or_default();
        }
        has_data
    }

    /// How many of these bytes belong to the frame that has begun.
    pub fn rest_of_frame(mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.is_between() {
                break;
            }
            taken += self.step(rest.first().copied().unwrap_or_default(), rest.len());
        }
        taken
    }

    /// Takes one byte, or as much data as is there. Says how much.
    fn step(&mut self, byte: u8, there: usize) -> usize {
        let mut taken = 1;
        self.next = match self.next {
            Next::First => Next::Second,
            Next::Second => {
                let is_masked = byte & 0x80 != 0;
                match byte & 0x7f {
                    127 => Next::Length(8, 0, is_masked),
                    126 => Next::Length(2, 0, is_masked),
                    length => Self::after_length(u64::from(length), is_masked),
                }
            }
            Next::Length(left, so_far, is_masked) => {
                let length = so_far << 8 | u64::from(byte);
                match left {
                    1 => Self::after_length(length, is_masked),
                    _ => Next::Length(left - 1, length, is_masked),
                }
            }
            Next::Mask(1, length) => Self::after_mask(length),
            Next::Mask(left, length) => Next::Mask(left - 1, length),
            Next::Data(left) => {
                taken = usize::try_from(left).unwrap_or(usize::MAX).min(there);
                Self::after_mask(left - taken as u64)
            }
        };
        taken
    }

    fn after_length(length: u64, is_masked: bool) -> Next {
        if is_masked {
            Next::Mask(4, length)
        } else {
            Self::after_mask(length)
        }
    }

    fn after_mask(left: u64) -> Next {
        if left == 0 {
            Next::First
        } else {
            Next::Data(left)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn frame(opcode: u8, is_masked: bool, length: usize) -> Vec<u8> {
        let mask = if is_masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(mask | length as u8),
            126..65536 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        if is_masked {
            frame.extend([0; 4]);
        }
        frame.extend(vec![1; length]);
        frame
    }

    #[rstest]
    #[case(0, true)]
    #[case(1, true)]
    #[case(2, true)]
    #[case(8, false)]
    #[case(9, false)]
    #[case(10, false)]
    fn only_frames_with_data_count(#[case] opcode: u8, #[case] counts: bool) {
        assert_eq!(Frames::default().pass(&frame(opcode, true, 5)), counts);
    }

    #[test]
    fn a_length_that_no_memory_holds_is_followed_all_the_same() {
        let mut frames = Frames::default();
        frames.pass(&[0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert!(!frames.pass(&[0x82; 100]));
        assert_eq!(frames.next, Next::Data(u64::MAX - 100));
    }

    proptest! {
        #[test]
        fn frames_are_followed_however_they_come(
            sizes in proptest::collection::vec((0..11u8, any::<bool>(), prop_oneof![0..130usize, 65530..65540usize]), 1..6),
            piece in 1..50usize,
        ) {
            let frames: Vec<Vec<u8>> = sizes.iter().map(|(opcode, masked, length)| frame(*opcode, *masked, *length)).collect();
            let mut place = Frames::default();
            for frame in &frames {
                prop_assert!(place.is_between());
                prop_assert_eq!(place.rest_of_frame(frame), 0);
                let mut began = false;
                for (number, bytes) in frame.chunks(piece).enumerate() {
                    if number == 1 {
                        let mut all = frame[piece..].to_vec();
                        all.extend([0x81, 0]);
                        prop_assert_eq!(place.rest_of_frame(&all), frame.len() - piece);
                    }
                    began |= place.pass(bytes);
                }
                prop_assert_eq!(began, frame[0] & 0x0f <= 2);
            }
            prop_assert!(place.is_between());
            let mut whole = Frames::default();
            whole.pass(&frames.concat());
            prop_assert!(whole.is_between());
        }
    }
}
