//! A Rust file as the rules see it: tokens with their scope, and the comments that stand above a place.
//!
//! Purpose: answers "in which function is this", "is this test code", "is this inside an implementation of a trait"
//! and "which comment argues for this", for any token of a file.
//! Invariants: `tokens`, `scopes` and `tests` have the same length; comments are kept apart from the tokens.
//! Concurrency: plain values over borrowed text.
//! Source: the safety comment rules of clippy's `undocumented_unsafe_blocks`, which this check doubles in text form.

use super::scope::{self, Scope};
use super::tokens::{Kind, Token, tokens};
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

/// One parsed file.
pub struct Code<'a> {
    /// All tokens but comments.
    pub tokens: Vec<Token<'a>>,
    /// All comments.
    pub comments: Vec<Token<'a>>,
    /// Attributes as ranges of `tokens`, from the `#` to the closing bracket.
    pub attributes: Vec<Range<usize>>,
    /// What surrounds each token.
    pub scopes: Vec<Rc<Scope>>,
    /// Whether each token is compiled for tests only.
    pub tests: Vec<bool>,
    /// Lines that hold code which is not an attribute; index 0 is unused.
    code: Vec<bool>,
    /// Lines that hold a comment or an attribute.
    remarks: Vec<bool>,
}

impl<'a> Code<'a> {
    /// Parses `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let (comments, tokens): (Vec<_>, Vec<_>) = tokens(text).into_iter().partition(|t| t.kind == Kind::Comment);
        let attributes = attributes(&tokens);
        let mut code = vec![false; text.lines().count() + 2];
        let mut remarks = code.clone();
        for (index, token) in tokens.iter().enumerate() {
            let inside = attributes.iter().any(|range| range.contains(&index));
            (if inside { &mut remarks } else { &mut code })[token.line..=token.last].fill(true);
        }
        for comment in &comments {
            remarks[comment.line..=comment.last].fill(true);
        }
        let scopes = scope::scopes(&tokens, &attributes);
        let tests = scope::tests(&tokens, &attributes);
        Self { tokens, comments, attributes, scopes, tests, code, remarks }
    }

    /// Whether the tokens from `index` on are exactly `words`.
    #[must_use]
    pub fn at(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, word)| self.tokens.get(index + offset).is_some_and(|t| t.is(word)))
    }

    /// Whether the tokens of `attribute` contain the word `name`.
    #[must_use]
    pub fn mentions(&self, attribute: &Range<usize>, name: &str) -> bool {
        self.tokens[attribute.clone()].iter().any(|token| token.is(name))
    }

    /// What follows `label` in the comments that argue for token `index`: directly above its line or its statement,
    /// or between the statement's start and the token. `None` without the label, empty if nothing follows it.
    #[must_use]
    pub fn argument(&self, index: usize, label: &str) -> Option<String> {
        let token = &self.tokens[index];
        let start = &self.tokens[self.statement(index)];
        let mut near: Vec<_> =
            self.comments.iter().filter(|c| (self.block_above(start.line)..=token.line).contains(&c.line)).collect();
        near.retain(|comment| comment.at < token.at && self.belongs(comment, start, token));
        labelled(&near, label)
    }

    /// What follows `label` in the comments directly above `line`.
    #[must_use]
    pub fn argument_above(&self, line: usize, label: &str) -> Option<String> {
        let first = self.block_above(line);
        let near: Vec<_> = self.comments.iter().filter(|c| (first..line).contains(&c.line)).collect();
        labelled(&near, label)
    }

    /// What follows `label` in the last comment of the file that has it.
    #[must_use]
    pub fn argument_anywhere(&self, label: &str) -> Option<String> {
        labelled(&self.comments.iter().collect::<Vec<_>>(), label)
    }

    /// Whether the documentation directly above the item that starts at token `index` has a line with `text`.
    #[must_use]
    pub fn documented(&self, index: usize, text: &str) -> bool {
        let line = self.tokens[self.statement(index)].line;
        let first = self.block_above(line);
        self.comments
            .iter()
            .any(|c| (first..line).contains(&c.line) && c.text.starts_with("///") && c.text.contains(text))
    }

    /// Number of lines on which stands a token whose index `keep` wants.
    #[must_use]
    pub fn code_lines(&self, keep: impl Fn(usize) -> bool) -> usize {
        let kept = self.tokens.iter().enumerate().filter(|(index, _)| keep(*index));
        kept.flat_map(|(_, token)| token.line..=token.last).collect::<BTreeSet<_>>().len()
    }

    /// Index of the bracket that closes the one at `open`; the last token if none does.
    #[must_use]
    pub fn closing(&self, open: usize) -> usize {
        closing(&self.tokens, open)
    }

    /// Whether `comment` is in the block above the statement, inside it, or directly above the token.
    fn belongs(&self, comment: &Token, start: &Token, token: &Token) -> bool {
        comment.at > start.at
            || (self.block_above(start.line)..start.line).contains(&comment.line)
            || (self.block_above(token.line)..token.line).contains(&comment.line)
    }

    /// First line of the run of comments and attributes that ends directly above `line`; `line` itself if there is none.
    fn block_above(&self, line: usize) -> usize {
        let mut first = line;
        while first > 1 && self.remarks[first - 1] && !self.code[first - 1] {
            first -= 1;
        }
        first
    }

    /// Index of the first token, attributes left out, of the statement, item or match arm that token `index` is in.
    fn statement(&self, index: usize) -> usize {
        let mut at = index;
        while at > 0 {
            let before = &self.tokens[at - 1];
            let start = [";", "{", "}"].iter().any(|mark| before.is(mark));
            if start || self.attributes.iter().any(|range| range.end == at) {
                break;
            }
            at -= 1;
        }
        at
    }
}

/// The text after `label`, to its first full stop or the end of the comment, which may go over several lines.
fn labelled(comments: &[&Token], label: &str) -> Option<String> {
    // The nearest label wins: an argument must not be borrowed from further up.
    let from = comments.iter().rposition(|comment| find(comment.text, label).is_some())?;
    let is_documentation = |comment: &Token| comment.text.starts_with("///");
    let together =
        |pair: &[&Token]| pair[1].line == pair[0].last + 1 && is_documentation(pair[0]) == is_documentation(pair[1]);
    let more = comments[from..].windows(2).take_while(|pair| together(pair)).map(|pair| pair[1]);
    let plain = |comment: &Token<'_>| {
        comment.text.trim_start_matches(['/', '!', '*', ' ']).trim_end_matches(['/', '*', ' ']).to_owned()
    };
    let first = plain(comments[from]);
    let mut text = first[find(&first, label)? + label.len()..].trim().to_owned();
    for comment in more {
        text.push(' ');
        text.push_str(&plain(comment));
    }
    let end = text.find(". ").unwrap_or(text.len());
    Some(text[..end].trim().trim_end_matches('.').to_owned())
}

/// Where `label` stands as a word of its own: one label may end in another.
fn find(text: &str, label: &str) -> Option<usize> {
    text.match_indices(label).map(|(at, _)| at).find(|at| !text[..*at].ends_with(|c: char| c.is_alphanumeric()))
}

/// Index of the bracket that closes the one at `open`; the last token if none does.
pub(super) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open).filter(|(_, token)| token.kind == Kind::Mark) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

/// Every `#[…]` and `#![…]`.
fn attributes(tokens: &[Token]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (index, _) in tokens.iter().enumerate().filter(|(_, token)| token.is("#")) {
        let open = index + 1 + usize::from(tokens.get(index + 1).is_some_and(|next| next.is("!")));
        let inside = found.last().is_some_and(|range| range.contains(&index));
        if !inside && tokens.get(open).is_some_and(|next| next.is("[")) {
            found.push(index..closing(tokens, open) + 1);
        }
    }
    found
}
