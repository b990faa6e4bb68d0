//! Purpose: good configurations mean what they say; every mistake is named with its line; no text makes the parser panic.

use super::*;
use proptest::prelude::*;

const GOOD: &str = "
# a comment
images log.bin peer
program log
    image log.bin
    cores all
    may console           # the serial port
    may ports 0x60-0x64
    may interrupt 4
    provides log
    restart always
program alpha
    image peer
    arguments beta  20
    cores 1 0
    memory 1M
    quota 64
    priority 7
    may use log
    must finish
kill alpha 120
";

fn error(text: &str) -> String {
    Config::parse(text).err().map_or_else(String::new, |error| error.to_string())
}

/// The error after one line of the good configuration was replaced.
fn with(line: &str, replacement: &str) -> String {
    assert!(GOOD.contains(line));
    error(&GOOD.replace(line, replacement))
}

#[test]
fn a_configuration_means_what_it_says() {
    let config = Config::parse(GOOD).unwrap();
    assert_eq!(config.images, ["log.bin", "peer"]);
    assert_eq!(config.kills, [Kill { program: "alpha".into(), after: 120 }]);
    let log = config.program("log").unwrap();
    assert_eq!(log.rights, [Right::Console, Right::Ports(0x60, 0x64), Right::Interrupt(4)]);
    assert_eq!((&log.cores, log.restart, log.must_finish), (&Cores::All, Restart::Always, false));
    assert_eq!((log.memory, log.quota, log.priority), (256 << 10, 256, 2));
    let alpha = config.program("alpha").unwrap();
    assert_eq!(alpha.arguments, "beta  20");
    assert_eq!(alpha.cores, Cores::These(vec![1, 0]));
    assert_eq!((alpha.memory, alpha.quota, alpha.priority), (1 << 20, 64, 7));
    assert!(alpha.may_use("log") && !alpha.may_use("beta") && alpha.must_finish);
}

#[test]
fn a_program_may_be_allowed_to_make_domains() {
    let config = Config::parse(&GOOD.replace("may interrupt 4", "may domains")).unwrap();
    assert_eq!(config.program("log").map(|log| log.rights.last()), Some(Some(&Right::Domains)));
}

#[test]
fn what_is_unknown_is_named_with_what_is_known() {
    assert_eq!(
        with("may console", "may foo"),
        "line 7: unknown right `foo`; known: console, ports, interrupt, use, read, guest, domains"
    );
    assert_eq!(
        with("restart always", "restart often"),
        "line 11: unknown policy `often`; known: never, on-failure, always"
    );
    assert_eq!(with("must finish", "must win"), "line 20: unknown duty `win`; known: finish");
    assert_eq!(error("frob x"), "line 1: unknown line `frob`; known: images, program, kill");
    assert!(with("quota 64", "quotas 64").starts_with("line 17: unknown line `quotas`; known: image, arguments, "));
}

#[test]
fn a_monitor_has_a_guest_and_reads_images() {
    let text = GOOD.replace("    may use log", "    may use log\n    may guest 64M\n    may read peer");
    let rights = Config::parse(&text).map(|config| config.program("alpha").map(|alpha| alpha.rights.clone()));
    let expected = vec![Right::Use("log".into()), Right::Guest(64 << 20), Right::Read("peer".into())];
    assert_eq!(rights, Ok(Some(expected)));
    assert!(with("may use log", "may guest 5M").contains("is no size"));
    assert!(with("may use log", "may read pear").contains("there is no image `pear`"));
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    assert_eq!(with("may use log", "may use"), "line 19: `may use` needs a service");
    assert_eq!(with("cores all", "cores"), "line 6: `cores` needs `all` or numbers of cores");
    assert_eq!(with("quota 64", "quota 64 65"), "line 17: `65` is too much on this line");
    assert_eq!(error("cores all\n"), "line 1: `cores` belongs to a program; write `program NAME` before it");
    assert_eq!(error("# nothing\n"), "no program; write `program NAME`");
    assert_eq!(with("kill alpha 120", "kill alpha"), "line 21: `kill` needs milliseconds after the program");
}

#[test]
fn numbers_and_names_have_ranges() {
    assert_eq!(with("priority 7", "priority 0"), "line 18: `0` is no priority: needs 1 to 127");
    assert_eq!(with("priority 7", "priority 128"), "line 18: `128` is no priority: needs 1 to 127");
    assert_eq!(with("cores 1 0", "cores 1 256"), "line 15: `256` is no core: needs `all`, or 0 to 255");
    assert_eq!(with("memory 1M", "memory 1"), "line 16: `1` is no size: needs 4K to 1024M");
    assert_eq!(with("memory 1M", "memory 1025M"), "line 16: `1025M` is no size: needs 4K to 1024M");
    let ports = "is no range of ports: needs 0 to 0xffff, as 0x60 or 0x60-0x64";
    assert_eq!(with("0x60-0x64", "0x64-0x60"), format!("line 8: `0x64-0x60` {ports}"));
    assert_eq!(with("0x60-0x64", "0x10000"), format!("line 8: `0x10000` {ports}"));
    assert_eq!(with("interrupt 4", "interrupt +4"), "line 9: `+4` is no interrupt: needs 0 to 191");
    assert!(with("program alpha", "program a/b").starts_with("line 12: `a/b` is no name"));
}

#[test]
fn nothing_is_said_twice_and_nothing_named_that_is_not_there() {
    assert_eq!(with("program alpha", "program log"), "line 12: there is a program `log` already");
    assert_eq!(with("quota 64", "memory 1M"), "line 17: there is a line `memory` already");
    assert_eq!(with("cores 1 0", "cores 1 1"), "line 15: there is a core `1` already");
    assert_eq!(with("must finish", "provides log"), "line 12: there is a provider of `log` already");
    assert_eq!(
        with("may use log", "may use tea"),
        "line 19: there is no service `tea`; a program has to say `provides` it"
    );
    assert_eq!(with("image peer", "image pear"), "line 13: there is no image `pear`; name the modules with `images`");
    assert_eq!(with("    image peer\n", ""), "line 12: there is no image `alpha`; name the modules with `images`");
    assert_eq!(
        with("kill alpha", "kill beta"),
        "line 21: there is no program `beta`; only what is started can be ended"
    );
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_an_error(text in "\\PC{0,80}(\n\\PC{0,40}){0,6}") {
        let _ = Config::parse(&text);
    }

    #[test]
    fn any_mix_of_good_words_is_consistent_or_an_error(
        lines in proptest::collection::vec((0..24_usize, 0..24_usize, 0..24_usize), 1..14),
    ) {
        const WORDS: [&str; 24] = [
            "program", "images", "kill", "image", "cores", "memory", "quota", "priority", "may", "provides", "restart",
            "must", "a", "b", "1", "64K", "all", "use", "ports", "console", "never", "finish", "arguments", "#",
        ];
        let text: String = lines.iter().map(|&(a, b, c)| format!("{} {} {}\n", WORDS[a], WORDS[b], WORDS[c])).collect();
        let text = format!("images p q\nprogram p\n{text}");
        if let Ok(config) = Config::parse(&text) {
            let services: Vec<_> = config.programs.iter().flat_map(|program| &program.provides).collect();
            for program in &config.programs {
                prop_assert!(config.images.contains(&program.image));
                prop_assert!((1..=127).contains(&program.priority) && program.memory.is_multiple_of(4096));
                for right in &program.rights {
                    if let Right::Use(service) = right {
                        prop_assert!(services.contains(&service));
                    }
                }
            }
            prop_assert!(config.kills.iter().all(|kill| config.program(&kill.program).is_some()));
        }
    }
}
