//! Rust source text as tokens, for rules that must not be fooled by strings and comments.
//!
//! Purpose: the least that tells code from comments, string, character and raw literals, and lifetimes; no grammar.
//! Invariants: tokens come in text order and do not overlap; every byte that is not white space belongs to one token.
//! Unfinished literals run to the end of the text, so that any input gives an answer.
//! Concurrency: pure functions over borrowed text.
//! Source: The Rust Reference, chapter "Lexical structure".

/// What a token is, as far as the rules have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword; a raw identifier keeps its `r#`.
    Word,
    /// A number, with its suffix.
    Number,
    /// A string, byte string, C string or character literal.
    Literal,
    /// A lifetime or label.
    Lifetime,
    /// One character of punctuation.
    Mark,
    /// A comment, of any form.
    Comment,
}

/// One token.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub text: &'a str,
    /// Offset of its first byte in the file.
    pub at: usize,
    /// Line of its first character, from 1.
    pub line: usize,
    /// Line of its last character.
    pub last: usize,
}

impl Token<'_> {
    /// Whether this is the keyword, name or punctuation `text`.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }
}

/// All tokens of `text`, comments included.
#[must_use]
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        if bytes[at].is_ascii_whitespace() {
            line += usize::from(bytes[at] == b'\n');
            at += 1;
            continue;
        }
        let (kind, end) = token(bytes, at);
        let text = &text[at..end];
        let last = line + text.matches('\n').count();
        found.push(Token { kind, text, at, line, last });
        (at, line) = (end, last);
    }
    found
}

/// The kind and end of the token that starts at `at`.
fn token(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = &bytes[at..];
    match rest[0] {
        b'/' if rest.starts_with(b"//") => (Kind::Comment, line_end(bytes, at)),
        b'/' if rest.starts_with(b"/*") => (Kind::Comment, block_comment(bytes, at)),
        b'#' if at == 0 && rest.starts_with(b"#!") && !rest.starts_with(b"#![") => (Kind::Comment, line_end(bytes, at)),
        b'"' => (Kind::Literal, quoted(bytes, at, b'"')),
        b'\'' => character_or_lifetime(bytes, at),
        b'0'..=b'9' => (Kind::Number, number(bytes, at)),
        byte if is_word(byte) => word_or_prefixed(bytes, at),
        _ => (Kind::Mark, at + 1),
    }
}

/// Whether `byte` may be part of a word. Bytes of non-ASCII characters count, so that no character is ever split.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The end of the run of word bytes from `at`.
fn word(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| is_word(**byte)).count()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| **byte != b'\n').count()
}

/// Block comments nest.
fn block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// The end of the literal whose opening quote stands at `at`.
fn quoted(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut at = at + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The end of the raw string whose hashes or quote start at `at`; `None` if no raw string stands there.
fn raw(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
    let mut at = at + hashes;
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    at += 1;
    while at < bytes.len() {
        let after = &bytes[at + 1..];
        if bytes[at] == b'"' && after.len() >= hashes && after[..hashes].iter().all(|byte| *byte == b'#') {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(at)
}

/// `'x'`, `'\n'` or `'a` as a lifetime.
fn character_or_lifetime(bytes: &[u8], at: usize) -> (Kind, usize) {
    let Some(&next) = bytes.get(at + 1) else { return (Kind::Mark, at + 1) };
    if next == b'\\' {
        return (Kind::Literal, quoted(bytes, at, b'\''));
    }
    let width = match next {
        0..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        _ => 4,
    };
    if bytes.get(at + 1 + width) == Some(&b'\'') {
        return (Kind::Literal, at + width + 2);
    }
    match word(bytes, at + 1) {
        end if end == at + 1 => (Kind::Mark, end),
        end => (Kind::Lifetime, end),
    }
}

/// A point belongs to a number only if a digit follows, so that `0..4` and `1.max(2)` come apart.
fn number(bytes: &[u8], at: usize) -> usize {
    let end = word(bytes, at);
    match (bytes.get(end), bytes.get(end + 1)) {
        (Some(b'.'), Some(b'0'..=b'9')) => word(bytes, end + 1),
        _ => end,
    }
}

/// A word, or the literal of which it is the prefix.
fn word_or_prefixed(bytes: &[u8], at: usize) -> (Kind, usize) {
    let end = word(bytes, at);
    let prefix = &bytes[at..end];
    match (prefix, bytes.get(end)) {
        (b"b" | b"c", Some(b'"')) => (Kind::Literal, quoted(bytes, end, b'"')),
        (b"b", Some(b'\'')) => (Kind::Literal, quoted(bytes, end, b'\'')),
        (b"r" | b"br" | b"cr", Some(b'"' | b'#')) => match raw(bytes, end) {
            Some(end) => (Kind::Literal, end),
            None if prefix == b"r" => (Kind::Word, word(bytes, end + 1)),
            None => (Kind::Word, end),
        },
        _ => (Kind::Word, end),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, tokens};

    fn words(text: &str) -> Vec<&str> {
        tokens(text).iter().filter(|token| token.kind == Kind::Word).map(|token| token.text).collect()
    }

    #[test]
    fn literals_and_comments_hide_what_they_contain() {
        let text =
            "a \"unsafe \\\" {\" b // unsafe\n/* unsafe /* unsafe */ unsafe */ c r#\"unsafe \" \"# d b'\\'' e '\"' f";
        assert_eq!(words(text), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(words("br##\"unsafe \"# x\"## y c\"unsafe\" z"), ["y", "z"]);
    }

    #[test]
    fn lifetimes_are_not_characters() {
        let found = tokens("fn f<'a>(x: &'a str, c: char) { c == 'a' || c == 'ä' || c == '\\u{41}' }");
        let kinds = |kind| found.iter().filter(|token| token.kind == kind).count();
        assert_eq!((kinds(Kind::Lifetime), kinds(Kind::Literal)), (2, 3));
    }

    #[test]
    fn raw_identifiers_ranges_and_a_first_line_for_the_shell() {
        assert_eq!(words("#!/bin/env run\nr#unsafe 0..x 1.0f32 y"), ["r#unsafe", "x", "y"]);
    }

    #[test]
    fn unfinished_literals_end_with_the_text() {
        for text in ["\"abc", "/* abc", "r##\"abc\"#", "'", "b'\\", "'\\", "r#", "'ä"] {
            assert_eq!(tokens(text).last().map(|token| token.at + token.text.len()), Some(text.len()), "{text}");
        }
    }

    #[test]
    fn lines_count_from_one_across_literals() {
        let found = tokens("a\n\"x\ny\"\nb");
        let lines: Vec<_> = found.iter().map(|token| (token.line, token.last)).collect();
        assert_eq!(lines, [(1, 1), (2, 3), (4, 4)]);
    }
}
