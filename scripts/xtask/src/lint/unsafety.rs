//! Rule: every place where a programmer vouches for the compiler has its argument.
//!
//! Purpose: finds each `unsafe` of a file, says what it is, and reads the `// SAFETY:` argument or `# Safety` contract.
//! Invariants: the word counts only as a token, never in strings, comments or longer names; types of function pointers
//! promise nothing and do not count.
//! Concurrency: pure functions.
//! Source: The Rust Reference, chapter "The unsafe keyword"; Rust API Guidelines, C-FAILURE.

use super::code::Code;
use super::files::is_rust;
use super::tokens::Kind;
use super::{Finding, Report, Source};

/// What an `unsafe` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A block.
    Block,
    /// An implementation of an unsafe trait.
    Implementation,
    /// Foreign declarations that are promised to be right.
    Foreign,
    /// An attribute such as `#[unsafe(no_mangle)]`.
    Attribute,
    /// A function with duties for its callers.
    Function,
    /// A trait with duties for those who implement it.
    Trait,
}

impl Use {
    /// What the use is called in messages and in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Implementation => "implementation",
            Self::Foreign => "foreign declarations",
            Self::Attribute => "attribute",
            Self::Function => "function",
            Self::Trait => "trait",
        }
    }

    /// Whether the use needs a contract for others (`# Safety`), not an argument (`// SAFETY:`).
    #[must_use]
    pub fn is_contract(self) -> bool {
        matches!(self, Self::Function | Self::Trait)
    }
}

/// One use of `unsafe`.
pub struct Site {
    /// What it stands for.
    pub kind: Use,
    /// Line of the keyword.
    pub line: usize,
    /// The named scopes around it.
    pub scope: String,
    /// The argument; for a contract, a text that is not empty if there is one or none is due.
    pub argument: Option<String>,
    /// Lines with code of a block, its braces included; 0 for everything else.
    pub lines: usize,
    /// Whether it is compiled for tests only, as far as the file tells.
    pub test: bool,
}

/// All uses of `unsafe` in a file, in text order.
#[must_use]
pub fn sites(code: &Code) -> Vec<Site> {
    let is_unsafe = |index: &usize| code.tokens[*index].is("unsafe");
    (0..code.tokens.len()).filter(is_unsafe).filter_map(|index| site(code, index)).collect()
}

fn site(code: &Code, index: usize) -> Option<Site> {
    let kind = kind(code, index)?;
    let token = &code.tokens[index];
    let argument = match kind {
        Use::Attribute => code.argument_above(token.line, "SAFETY:"),
        // The contract stands at the trait.
        Use::Function if code.scopes[index].trait_impl => Some("see the trait".to_owned()),
        Use::Function | Use::Trait => code.documented(index, "# Safety").then(|| "documented".to_owned()),
        Use::Block | Use::Implementation | Use::Foreign => code.argument(index, "SAFETY:"),
    };
    let lines = match kind {
        Use::Block => code.code_lines(|at| (index..=code.closing(index + 1)).contains(&at)),
        _ => 0,
    };
    // An implementation is known by its type, which is the scope of its body.
    let body = (index..code.tokens.len()).find(|at| kind == Use::Implementation && code.at(*at, &["{"]));
    let inside = body.map_or(index, |open| (open + 1).min(code.tokens.len() - 1));
    let scope = code.scopes[inside].name.clone();
    let argument = argument.filter(|text| !text.is_empty());
    Some(Site { kind, line: token.line, scope, argument, lines, test: code.tests[index] })
}

/// What the `unsafe` at `index` stands for; `None` for the type of a function pointer.
fn kind(code: &Code, index: usize) -> Option<Use> {
    let attribute = code.attributes.iter().any(|range| range.contains(&index));
    if attribute && code.at(index + 1, &["("]) {
        return Some(Use::Attribute);
    }
    let mut next = index + 1;
    let foreign = code.at(next, &["extern"]);
    if foreign {
        next += 1;
        next += usize::from(code.tokens.get(next).is_some_and(|token| token.kind == Kind::Literal));
    }
    let word_after = code.tokens.get(next + 1).is_some_and(|token| token.kind == Kind::Word);
    match code.tokens.get(next)?.text {
        "{" if foreign => Some(Use::Foreign),
        "{" => Some(Use::Block),
        "impl" => Some(Use::Implementation),
        "fn" if word_after => Some(Use::Function),
        "trait" | "auto" => Some(Use::Trait),
        _ => None,
    }
}

/// Checks that every use has its argument or contract.
#[must_use]
pub fn check(sources: &[Source]) -> Report {
    let mut report = Report::default();
    let mut count = 0;
    for source in sources.iter().filter(|source| is_rust(&source.path)) {
        for site in sites(&Code::new(&source.text)) {
            count += 1;
            if site.argument.is_some() {
                continue;
            }
            let kind = site.kind.name();
            let message = if site.kind.is_contract() {
                format!("unsafe {kind} without a `# Safety` section; document what the other side has to guarantee")
            } else {
                format!(
                    "unsafe {kind} without an argument; say in a `// SAFETY:` comment directly above why it is sound"
                )
            };
            report.findings.push(Finding::new(&source.path, site.line, message));
        }
    }
    report.note = format!("{count} uses");
    report
}
