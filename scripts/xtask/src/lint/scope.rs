//! What surrounds each token of a file: the function it is in, whether a trait is implemented, whether it is test code.
//!
//! Purpose: names for the ledger that stay when lines move, and the difference between what ships and what tests.
//! Invariants: one entry per token; unbalanced braces end in the outermost scope instead of failing.
//! Concurrency: pure functions over borrowed tokens.
//! Source: The Rust Reference, chapter "Items"; braces in types (constant generics) are taken for blocks.

use super::code::closing;
use super::tokens::{Kind, Token};
use std::ops::Range;
use std::rc::Rc;

/// The named blocks around a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Modules, types, traits and functions, joined with `::`; empty at the top of a file.
    pub name: String,
    /// Whether the innermost implementation around is one of a trait.
    pub trait_impl: bool,
}

/// The scope of each token.
pub(super) fn scopes(tokens: &[Token], attributes: &[Range<usize>]) -> Vec<Rc<Scope>> {
    let mut stack = vec![Rc::new(Scope::default())];
    let mut pending: Option<Scope> = None;
    let mut nesting = 0usize;
    let mut found = Vec::with_capacity(tokens.len());
    let mut attributes = attributes.iter().peekable();
    for (index, token) in tokens.iter().enumerate() {
        let outer = Rc::clone(stack.last().unwrap_or(&Rc::default()));
        found.push(Rc::clone(&outer));
        while attributes.next_if(|range| range.end <= index).is_some() {}
        if attributes.peek().is_some_and(|range| range.contains(&index)) {
            continue;
        }
        if pending.is_none() {
            pending = opens(tokens, index, &outer);
            nesting = 0;
        }
        match (token.kind, token.text) {
            (Kind::Mark, "(" | "[") => nesting += 1,
            (Kind::Mark, ")" | "]") => nesting = nesting.saturating_sub(1),
            (Kind::Mark, ";") if nesting == 0 => pending = None,
            (Kind::Mark, "{") => {
                stack.push(pending.take().map_or(outer, Rc::new));
                nesting = 0;
            }
            (Kind::Mark, "}") => {
                if stack.len() > 1 {
                    stack.pop();
                }
                (pending, nesting) = (None, 0);
            }
            _ => {}
        }
    }
    found
}

/// The scope that the item starting at `index` opens with its next brace, if a named item starts there.
fn opens(tokens: &[Token], index: usize, outer: &Scope) -> Option<Scope> {
    let token = &tokens[index];
    let next = tokens.get(index + 1)?;
    let named = |name: &str, trait_impl| {
        let name = if outer.name.is_empty() { name.to_owned() } else { format!("{}::{name}", outer.name) };
        Some(Scope { name, trait_impl })
    };
    if ["fn", "mod", "trait"].iter().any(|word| token.is(word)) && next.kind == Kind::Word {
        return named(next.text, false);
    }
    if token.is("macro_rules") && next.is("!") {
        return named(&format!("{}!", tokens.get(index + 2)?.text), false);
    }
    let item = index == 0 || ["}", ";", "{", "]", "unsafe", "default"].iter().any(|mark| tokens[index - 1].is(mark));
    if token.is("impl") && item {
        let (name, trait_impl) = implemented(tokens, index);
        return named(name, trait_impl);
    }
    None
}

/// The type that the `impl` at `index` is for, and whether it implements a trait.
fn implemented<'a>(tokens: &[Token<'a>], index: usize) -> (&'a str, bool) {
    let (mut angles, mut name, mut trait_impl) = (0usize, "impl", false);
    for (offset, token) in tokens[index + 1..].iter().enumerate() {
        let after = tokens.get(index + 2 + offset);
        match (token.kind, token.text) {
            (Kind::Mark, "{" | ";") | (Kind::Word, "where") => break,
            (Kind::Mark, "<") => angles += 1,
            // The arrow of a function type is no closing bracket.
            (Kind::Mark, ">") if !tokens[index + offset].is("-") => angles = angles.saturating_sub(1),
            (Kind::Word, "for") if angles == 0 && !after.is_some_and(|next| next.is("<")) => trait_impl = true,
            (Kind::Word, "dyn" | "mut" | "const") => {}
            (Kind::Word, text) if angles == 0 => name = text,
            _ => {}
        }
    }
    (name, trait_impl)
}

/// For each token, whether it stands in an item under `#[cfg(test)]` or `#[test]`.
pub(super) fn tests(tokens: &[Token], attributes: &[Range<usize>]) -> Vec<bool> {
    let mut found = vec![false; tokens.len()];
    for range in attributes.iter().filter(|range| is_test(&tokens[(*range).clone()])) {
        let inner = tokens[range.start + 1].is("!");
        let end = if inner { tokens.len() } else { item_end(tokens, range.end, attributes) };
        found[range.start..end].fill(true);
    }
    found
}

/// Whether an attribute keeps its item out of everything but tests.
fn is_test(attribute: &[Token]) -> bool {
    let words: Vec<_> = attribute.iter().filter(|token| token.kind == Kind::Word).map(|token| token.text).collect();
    // The kernel that ships is built without its self tests, and without its shadow.
    let checks = || attribute.iter().any(|token| token.text.contains("selftest") || token.text.contains("shadow"));
    match words[..] {
        ["test"] | ["cfg", "test"] => true,
        ["cfg", "feature"] | ["cfg", "any", "test", "feature"] => checks(),
        ["cfg", "all", ..] => words.contains(&"test") && !words.contains(&"not") && !words.contains(&"any"),
        _ => false,
    }
}

/// One past the last token of the item that starts at `start`, further attributes included.
fn item_end(tokens: &[Token], start: usize, attributes: &[Range<usize>]) -> usize {
    let (mut index, mut keyword) = (start, false);
    while index < tokens.len() {
        if let Some(range) = attributes.iter().find(|range| range.start == index) {
            index = range.end;
            continue;
        }
        let token = &tokens[index];
        keyword |= ["fn", "impl", "mod", "struct", "enum", "use", "trait", "const", "static", "type"]
            .iter()
            .any(|word| token.is(word));
        match (token.kind, token.text) {
            (Kind::Mark, "{") => {
                let end = closing(tokens, index) + 1;
                // `use a::{b, c};` goes on to its semicolon.
                if !tokens.get(end).is_some_and(|next| next.is(";")) {
                    return end;
                }
                index = end;
            }
            (Kind::Mark, "(" | "[") => index = closing(tokens, index) + 1,
            (Kind::Mark, ";") => return index + 1,
            // A field, variant or match arm.
            (Kind::Mark, ",") if !keyword => return index + 1,
            (Kind::Mark, "}" | ")" | "]") => return index,
            _ => index += 1,
        }
    }
    tokens.len()
}
