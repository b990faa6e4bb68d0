//! What the program is asked to do: a line of words, as the tool passes it.
//!
//! `only=NAME` measures that operation alone (`NAME*`: all whose names begin so; several with commas), `groups=A,B` those
//! groups, `repetitions=N` and `batches=N` make batches smaller or fewer than the operation's own, `trace=N` runs each
//! operation N times between two signals instead of measuring it. `interrupts=any` accepts whatever number of interrupts
//! the kernel sends, for a kernel that sends more than it must.
//! Invariants: any bytes give a request; an unknown word is ignored, a number that is none too.
//! Concurrency: plain values.

/// Longest line in bytes; what follows is cut off.
pub const MAX_LENGTH: usize = 128;

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Request<'a> {
    /// The only operations to run, with commas between them; with `*` behind it a beginning of names.
    pub only: Option<&'a str>,
    /// The only groups, with commas between them.
    pub groups: Option<&'a str>,
    /// Most operations in a batch.
    pub repetitions: Option<u64>,
    /// Most batches.
    pub batches: Option<u64>,
    /// How often an operation is run for a tracer.
    pub trace: Option<u64>,
    /// Whether operations may be interrupted more often than they must.
    pub any_interrupts: bool,
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
                "groups" => request.groups = Some(value),
                "interrupts" => request.any_interrupts = value == "any",
                "repetitions" => request.repetitions = number(),
                "batches" => request.batches = number(),
                "trace" => request.trace = number(),
                _ => {}
            }
        }
        request
    }

    /// Whether the operation `name` of `group` is wanted.
    #[must_use]
    pub fn wants(&self, group: &str, name: &str) -> bool {
        let is = |each: &str| each.strip_suffix('*').map_or(each == name, |begin| name.starts_with(begin));
        self.only.is_none_or(|only| only.split(',').any(is))
            && self.groups.is_none_or(|groups| groups.split(',').any(|each| each == group))
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
        assert!(request.wants("objects", "create_pt") && !request.wants("objects", "create_ec"));
        assert!(Request::parse(b"").wants("objects", "create_ec"));
    }

    #[test]
    fn groups_and_beginnings_of_names_can_be_asked_for() {
        let request = Request::parse(b"groups=memory,shootdown only=revoke_*,map interrupts=any");
        assert!(request.wants("memory", "revoke_1x4k") && request.wants("shootdown", "revoke_1x4k"));
        assert!(request.wants("memory", "map") && !request.wants("memory", "mapped"));
        assert!(!request.wants("memory", "delegate_1x4k") && !request.wants("ipc", "revoke_1x4k"));
        assert!(request.any_interrupts && !Request::parse(b"interrupts=exact").any_interrupts);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_request(line: Vec<u8>) {
            let _ = Request::parse(&line);
        }
    }
}
