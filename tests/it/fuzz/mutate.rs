//! Makes new inputs of old ones. The same number gives the same inputs.

/// Words that mean something to one target or another.
pub const WORDS: [&[u8]; 66] = [
    b"---\n",
    b"...\n",
    b"<<: *a\n",
    b"&a ",
    b"*a",
    b"!!str ",
    b"!!binary ",
    b"!x ",
    b"[",
    b"]",
    b"{",
    b"}",
    b"? ",
    b": ",
    b"- ",
    b"|\n",
    b">2-\n",
    b"# ",
    b"%YAML 1.1\n",
    b"%TAG ! tag:x,2000:\n",
    b"\r",
    b"\t",
    b"\n",
    b"\n ",
    b"\n\n",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
    b"\x1b[",
    b"'",
    b"\"",
    b"\\",
    b"\\u0000",
    b"://",
    b"@",
    b"token=",
    b"password: ",
    b"***",
    b"kind: Workspace\n",
    b"metadata:\n  name: a\n",
    b"spec:\n  ",
    b"null",
    b"1e999",
    b"-0",
    b"9223372036854775808",
    b"0x",
    b"Gi",
    b"..",
    b"/",
    b".git",
    b",40000 a 1",
    b"120000 ",
    b"**/",
    b"{a,b}",
    b" guarded\n",
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: ",
    b"; __Host-wsd=t",
    b"_",
    b"0\r\n\r\n",
    b"===\n",
    b",",
];

/// Numbers in a row (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, but without, `end`; 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(most) + 1)
    }
}

/// A seed, changed in one to eight places, or one piece of it many times over.
pub fn mutated(random: &mut Random, seeds: &[Vec<u8>], longest: usize) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(8) {
        change(random, &mut input, seeds);
    }
    if random.below(40) == 0 {
        input = many_times(random, &input, longest);
    }
    input.truncate(longest);
    input
}

fn change(random: &mut Random, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let length = input.len();
    let at = random.below(length + 1);
    match random.below(9) {
        0 if length > 0 => input[at % length] ^= 1 << random.below(8),
        1 if length > 0 => input[at % length] = random.next() as u8,
        2 => drop(input.drain(random.range(length, 64))),
        3 => {
            let piece = input[random.range(length, 256)].to_vec();
            input.splice(at..at, piece);
        }
        4 => {
            let other = &seeds[random.below(seeds.len())];
            let piece = other[random.range(other.len(), 1024)].to_vec();
            input.splice(at..at, piece);
        }
        5 => input.truncate(at),
        6 => {
            let line = |text: &[u8], at: usize| {
                let start = text[..at]
                    .iter()
                    .rposition(|b| *b == b'\n')
                    .map_or(0, |at| at + 1);
                let end = text[at..]
                    .iter()
                    .position(|b| *b == b'\n')
                    .map_or(text.len(), |n| at + n + 1);
                start..end
            };
            let from = random.below(length + 1);
            let piece = input[line(input, from)].to_vec();
            let to = line(input, at).start;
            input.splice(to..to, piece);
        }
        _ => {
            let word = WORDS[random.below(WORDS.len())];
            input.splice(at..at, word.iter().copied());
        }
    }
}

/// What is cheap once and costs the square of its length shows so.
fn many_times(random: &mut Random, input: &[u8], longest: usize) -> Vec<u8> {
    let piece = random.range(input.len(), 64);
    let (before, after) = (&input[..piece.start], &input[piece.end..]);
    let piece = &input[piece];
    if piece.is_empty() {
        return input.to_vec();
    }
    let room = longest.saturating_sub(before.len() + after.len()) / piece.len();
    let mut output = before.to_vec();
    for number in 0..room {
        output.extend_from_slice(piece);
        // In half of the cases no two pieces are the same, as keys and names have to be.
        if piece.len() > 3 && random.below(2) == 0 {
            let end = output.len();
            let digits = format!("{number:03}");
            output[end - 3..].copy_from_slice(&digits.as_bytes()[digits.len() - 3..]);
        }
    }
    output.extend_from_slice(after);
    output
}
