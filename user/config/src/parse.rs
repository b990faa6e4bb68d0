//! From text to a configuration.
//!
//! Invariants: any text gives a consistent configuration or an error.
//! Concurrency: plain functions.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::{Config, Cores, Error, Kill, MAX_ARGUMENTS, MAX_NAME, MAX_PROGRAMS, Problem, Program, Restart, Right};

const TOP: &str = "images, program, kill";
const LINES: &str =
    "image, arguments, cores, memory, quota, priority, may, provides, restart, must, program, images, kill";
const RIGHTS: &str = "console, ports, interrupt, use, read, guest, domains";
const POLICIES: &str = "never, on-failure, always";

type Words<'a> = core::str::SplitWhitespace<'a>;
type Outcome<T> = Result<T, Problem>;

/// A program, the lines that said what, and which lines it has.
struct Draft {
    program: Program,
    line: usize,
    uses: Vec<(usize, String)>,
    image: Option<(usize, String)>,
    seen: Vec<&'static str>,
}

/// Reads a configuration.
pub fn parse(text: &str) -> Result<Config, Error> {
    let (mut config, mut drafts, mut kills) = (Config::default(), Vec::<Draft>::new(), Vec::new());
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let at = |problem| Error { line, problem };
        let content = raw.split('#').next().unwrap_or_default().trim();
        let mut words = content.split_whitespace();
        let Some(first) = words.next() else { continue };
        match (first, drafts.last_mut()) {
            ("images", _) => images(&mut config.images, words).map_err(at)?,
            ("kill", _) => kills.push((line, kill(words).map_err(at)?)),
            ("program", _) => {
                let draft = begin(&drafts, line, words).map_err(at)?;
                drafts.push(draft);
            }
            (_, Some(draft)) => inside(draft, line, first, content, words).map_err(at)?,
            (word, None) if LINES.split(", ").any(|known| known == word) => {
                return Err(at(Problem::Outside(word.to_owned())));
            }
            (word, None) => return Err(at(Problem::Unknown("line", word.to_owned(), TOP))),
        }
    }
    finish(config, drafts, kills)
}

/// Checks what can be checked only when everything is known.
fn finish(mut config: Config, drafts: Vec<Draft>, kills: Vec<(usize, Kill)>) -> Result<Config, Error> {
    if drafts.is_empty() {
        return Err(Error { line: 0, problem: Problem::Empty });
    }
    let mut services: Vec<&String> = Vec::new();
    for Draft { program, line, .. } in &drafts {
        for service in &program.provides {
            if services.contains(&service) {
                return Err(Error { line: *line, problem: Problem::Again("provider of", service.clone()) });
            }
            services.push(service);
        }
    }
    let absent = |line, what, name: &str, how| Error { line, problem: Problem::Absent(what, name.to_owned(), how) };
    for Draft { program, line, uses, image, .. } in &drafts {
        if let Some((line, service)) = uses.iter().find(|(_, service)| !services.contains(&service)) {
            return Err(absent(*line, "service", service, "a program has to say `provides` it"));
        }
        for right in &program.rights {
            if let Right::Read(image) = right
                && !config.images.contains(image)
            {
                return Err(absent(*line, "image", image, "name the modules with `images`"));
            }
        }
        if !config.images.contains(&program.image) {
            let line = image.as_ref().map_or(*line, |(line, _)| *line);
            return Err(absent(line, "image", &program.image, "name the modules with `images`"));
        }
    }
    config.programs = drafts.into_iter().map(|draft| draft.program).collect();
    for (line, kill) in kills {
        if config.program(&kill.program).is_none() {
            return Err(absent(line, "program", &kill.program, "only what is started can be ended"));
        }
        config.kills.push(kill);
    }
    Ok(config)
}

fn images(images: &mut Vec<String>, words: Words<'_>) -> Outcome<()> {
    let before = images.len();
    for word in words {
        let name = name(word)?;
        if images.contains(&name) {
            return Err(Problem::Again("image", name));
        }
        images.push(name);
    }
    if images.len() == before { Err(Problem::Missing("images", "the names of the modules")) } else { Ok(()) }
}

fn kill(mut words: Words<'_>) -> Outcome<Kill> {
    let program = name(words.next().ok_or(Problem::Missing("kill", "a program and milliseconds"))?)?;
    let after = words.next().ok_or(Problem::Missing("kill", "milliseconds after the program"))?;
    let after = number(after, 3_600_000).ok_or(Problem::Number("time", after.to_owned(), "0 to 3600000"))?;
    end(words)?;
    Ok(Kill { program, after })
}

fn begin(drafts: &[Draft], line: usize, mut words: Words<'_>) -> Outcome<Draft> {
    let name = name(words.next().ok_or(Problem::Missing("program", "a name"))?)?;
    end(words)?;
    if drafts.iter().any(|draft| draft.program.name == name) {
        return Err(Problem::Again("program", name));
    }
    if drafts.len() == MAX_PROGRAMS {
        return Err(Problem::Many("programs", MAX_PROGRAMS));
    }
    let program = Program {
        image: name.clone(),
        name,
        arguments: String::new(),
        cores: Cores::These(vec![0]),
        memory: 256 << 10,
        quota: 256,
        priority: 2,
        rights: Vec::new(),
        provides: Vec::new(),
        restart: Restart::Never,
        must_finish: false,
    };
    Ok(Draft { program, line, uses: Vec::new(), image: None, seen: Vec::new() })
}

/// A line of a program.
fn inside<'a>(draft: &mut Draft, line: usize, first: &'a str, content: &str, mut words: Words<'a>) -> Outcome<()> {
    let Some(first) = LINES.split(", ").find(|known| *known == first) else {
        return Err(Problem::Unknown("line", first.to_owned(), LINES));
    };
    let program = &mut draft.program;
    if !matches!(first, "may" | "provides") {
        if draft.seen.contains(&first) {
            return Err(Problem::Again("line", first.to_owned()));
        }
        draft.seen.push(first);
    }
    if first == "arguments" {
        program.arguments = content.strip_prefix(first).unwrap_or_default().trim().to_owned();
        let fits = program.arguments.len() <= MAX_ARGUMENTS;
        return if fits { Ok(()) } else { Err(Problem::Many("bytes of arguments", MAX_ARGUMENTS)) };
    }
    let word = words.next().ok_or(Problem::Missing(first, needs(first)))?;
    let limited = |limit, what, range| number(word, limit).ok_or(Problem::Number(what, word.to_owned(), range));
    match first {
        "image" => {
            program.image = name(word)?;
            draft.image = Some((line, program.image.clone()));
        }
        "cores" => return cores(program, word, words),
        "memory" => {
            program.memory = size(word).ok_or(Problem::Number("size", word.to_owned(), "4K to 1024M"))?;
        }
        "quota" => program.quota = limited(1 << 20, "number of pages", "0 to 1048576")? as u32,
        "priority" => {
            let priority = limited(127, "priority", "1 to 127")?;
            program.priority = u8::try_from(priority).unwrap_or_default();
            if program.priority == 0 {
                return Err(Problem::Number("priority", word.to_owned(), "1 to 127"));
            }
        }
        "may" => {
            let right = right(word, &mut words)?;
            if let Right::Use(service) = &right {
                draft.uses.push((line, service.clone()));
            }
            program.rights.push(right);
        }
        "provides" => program.provides.push(name(word)?),
        "restart" => {
            program.restart = match word {
                "never" => Restart::Never,
                "on-failure" => Restart::OnFailure,
                "always" => Restart::Always,
                _ => return Err(Problem::Unknown("policy", word.to_owned(), POLICIES)),
            }
        }
        _ if word == "finish" => program.must_finish = true,
        _ => return Err(Problem::Unknown("duty", word.to_owned(), "finish")),
    }
    end(words)
}

/// What the line has to go on with.
fn needs(first: &str) -> &'static str {
    match first {
        "cores" => "`all` or numbers of cores",
        "memory" => "a size, as 256K",
        "quota" => "a number of pages",
        "priority" => "a number from 1 to 127",
        "may" => "a right: console, ports, interrupt, use, read, guest, domains",
        "restart" => "a policy: never, on-failure, always",
        "must" => "a duty: finish",
        _ => "a name",
    }
}

fn cores<'a>(program: &mut Program, first: &'a str, words: Words<'a>) -> Outcome<()> {
    if first == "all" {
        program.cores = Cores::All;
        return end(words);
    }
    let mut list = Vec::new();
    for word in core::iter::once(first).chain(words) {
        let core = number(word, 255).ok_or(Problem::Number("core", word.to_owned(), "`all`, or 0 to 255"))? as u32;
        if list.contains(&core) {
            return Err(Problem::Again("core", word.to_owned()));
        }
        list.push(core);
    }
    program.cores = Cores::These(list);
    Ok(())
}

fn right(kind: &str, words: &mut Words<'_>) -> Outcome<Right> {
    match kind {
        "console" => Ok(Right::Console),
        "domains" => Ok(Right::Domains),
        "ports" => {
            let word = words.next().ok_or(Problem::Missing("may ports", "a port or a range, as 0x60-0x64"))?;
            let bad = || Problem::Number("range of ports", word.to_owned(), "0 to 0xffff, as 0x60 or 0x60-0x64");
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let port = |word| number(word, 0xFFFF).ok_or_else(bad).map(|port| port as u16);
            let (first, last) = (port(first)?, port(last)?);
            if first > last { Err(bad()) } else { Ok(Right::Ports(first, last)) }
        }
        "interrupt" => {
            let word = words.next().ok_or(Problem::Missing("may interrupt", "a number"))?;
            let interrupt = number(word, 191).ok_or(Problem::Number("interrupt", word.to_owned(), "0 to 191"))?;
            Ok(Right::Interrupt(interrupt as u32))
        }
        "use" => Ok(Right::Use(name(words.next().ok_or(Problem::Missing("may use", "a service"))?)?)),
        "read" => Ok(Right::Read(name(words.next().ok_or(Problem::Missing("may read", "an image"))?)?)),
        "guest" => {
            let word = words.next().ok_or(Problem::Missing("may guest", "a size, as 256M"))?;
            let size = size(word).filter(|size| size.is_multiple_of(2 << 20));
            Ok(Right::Guest(size.ok_or(Problem::Number("size", word.to_owned(), "2M to 1024M, even"))?))
        }
        _ => Err(Problem::Unknown("right", kind.to_owned(), RIGHTS)),
    }
}

fn end(mut words: Words<'_>) -> Outcome<()> {
    words.next().map_or(Ok(()), |word| Err(Problem::Surplus(word.to_owned())))
}

fn name(word: &str) -> Outcome<String> {
    let good =
        word.len() <= MAX_NAME && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if good { Ok(word.to_owned()) } else { Err(Problem::Name(word.to_owned())) }
}

/// A decimal or hexadecimal number up to `limit`.
fn number(word: &str, limit: u64) -> Option<u64> {
    let (digits, radix) = word.strip_prefix("0x").map_or((word, 10), |digits| (digits, 16));
    let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    u64::from_str_radix(digits, radix).ok().filter(|value| plain && *value <= limit)
}

/// A size in bytes, a multiple of a page.
fn size(word: &str) -> Option<u64> {
    let (digits, shift) = match word.strip_suffix('K') {
        Some(digits) => (digits, 10),
        None => (word.strip_suffix('M')?, 20),
    };
    let size = number(digits, 1 << 20)? << shift;
    ((4 << 10)..=(1 << 30)).contains(&size).then_some(size.next_multiple_of(4096))
}
