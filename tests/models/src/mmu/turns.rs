//! Whose turn it is.
//!
//! Invariants: of the threads of a machine one runs at a time. A path of choices determines an execution.
//! Concurrency: this is where it is defined.
//! Source: M. Musuvathi and S. Qadeer, "Iterative context bounding" (2007).

/// Numbers that look random: Marsaglia's xorshift.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// How turns, and what the hardware does on its own, are chosen.
pub enum Choices {
    /// At random.
    Random(Random),
    /// All: choices so far, each with the number there are, the place in them, preemptions that are left.
    Path(Vec<(usize, usize)>, usize, u32),
}

impl Choices {
    /// Below `bound`, which is at least 1.
    fn choose(&mut self, bound: usize) -> usize {
        match self {
            Self::Random(random) => random.below(bound),
            Self::Path(path, at, _) => {
                if *at == path.len() {
                    path.push((0, bound));
                }
                *at += 1;
                path[*at - 1].0
            }
        }
    }

    /// Who is next: `own`, if it does not wait, or one of `others`. On a path who waits lets the next one go on.
    pub fn next(&mut self, own: usize, waits: bool, others: &[usize]) -> usize {
        let stays = match self {
            Self::Random(random) => !waits && random.below(4) != 0,
            Self::Path(.., preemptions) => !waits && *preemptions == 0,
        };
        if stays || others.is_empty() {
            return own;
        }
        if waits {
            return match self {
                Self::Random(random) => others[random.below(others.len())],
                Self::Path(..) => others.iter().copied().find(|&id| id > own).unwrap_or(others[0]),
            };
        }
        let chosen = self.choose(others.len() + 1);
        let Some(other) = chosen.checked_sub(1) else { return own };
        if let Self::Path(.., preemptions) = self {
            *preemptions -= 1;
        }
        others[other]
    }

    /// What the hardware does of `all` that it may do: nothing or a few of it at random, on a path all.
    pub fn some<'a, T>(&mut self, all: &'a [T]) -> Option<&'a [T]> {
        match self {
            Self::Random(random) => (random.below(2) == 0).then(|| {
                let at = random.below(all.len());
                &all[at..=at]
            }),
            Self::Path(..) => Some(all),
        }
    }
}

/// The path after this one, if there is one: the last choice that has another is taken differently.
pub fn following(mut path: Vec<(usize, usize)>) -> Option<Vec<(usize, usize)>> {
    while let Some((chosen, count)) = path.pop() {
        if chosen + 1 < count {
            path.push((chosen + 1, count));
            return Some(path);
        }
    }
    None
}
