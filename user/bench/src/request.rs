//! What the program is asked to do: a line of words, as the tool passes it.
//!
//! `only=NAME` measures that operation alone, `repetitions=N` and `batches=N` make batches smaller or fewer than the
//! operation's own, `trace=N` runs each operation N times between two signals instead of measuring it.
//! Invariants: any bytes give a request; an unknown word is ignored, a number that is none too.
//! Concurrency: plain values.

/// Longest line in bytes; what follows is cut off.
pub const MAX_LENGTH: usize = 128;

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Request<'a> {
    /// The only operation to run.
    pub only: Option<&'a str>,
    /// Most operations in a batch.
    pub repetitions: Option<u64>,
    /// Most batches.
    pub batches: Option<u64>,
    /// How often an operation is run for a tracer.
    pub trace: Option<u64>,
}

impl<'a> Request<'a> {
    /// Reads the words of `line`.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let mut request = Self::default();
        let text = core::str::from_utf8(line).unwrap_or_default();
        for (name, value) in text.split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
            let number = || value.parse().ok().filter(|&number| number > 0);
            match name {
                "only" => request.only = Some(value),
                "repetitions" => request.repetitions = number(),
                "batches" => request.batches = number(),
                "trace" => request.trace = number(),
                _ => {}
            }
        }
        request
    }

    /// Whether the operation is wanted.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_none_or(|only| only == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_name_what_is_wanted() {
        let request = Request::parse(b"only=create_pt repetitions=20 batches=0 colour=red trace=x");
        assert_eq!(request, Request { only: Some("create_pt"), repetitions: Some(20), ..Request::default() });
        assert!(request.wants("create_pt") && !request.wants("create_ec"));
        assert!(Request::parse(b"").wants("create_ec"));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_request(line: Vec<u8>) {
            let _ = Request::parse(&line);
        }
    }
}
