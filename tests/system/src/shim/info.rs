//! A multiboot2 boot information. Source: Multiboot2 specification, section 3.6.

use super::Damage;

/// Usable memory in the memory map.
pub const USABLE: u32 = 1;
/// Memory with ACPI tables.
pub const ACPI: u32 = 3;

/// The boot information: command line, one module (start and end address),
/// memory map (base, length, type) and a copy of the RSDP.
pub fn boot_info(
    arguments: &str,
    module: (u32, u32),
    memory: &[(u64, u64, u32)],
    rsdp: &[u8],
    damage: Damage,
) -> Vec<u8> {
    let memory = if damage == Damage::EmptyMemoryMap { &[] } else { memory };
    let mut map = [24u32.to_le_bytes(), [0; 4]].concat();
    for (base, length, kind) in memory {
        map.extend([base.to_le_bytes(), length.to_le_bytes(), u64::from(*kind).to_le_bytes()].concat());
    }
    let text = |text: &str| [text.as_bytes(), b"\0"].concat();
    let module = [&module.0.to_le_bytes()[..], &module.1.to_le_bytes(), &text("")].concat();
    let tags = [(1, text(arguments)), (2, text("system tests")), (3, module), (6, map), (14, rsdp.to_vec())];
    let mut info = vec![0; 8];
    for (kind, body) in &tags {
        let beyond = if damage == Damage::TagTooLong && *kind == 14 { 0x1000 } else { 0 };
        tag(&mut info, *kind, body, beyond);
    }
    tag(&mut info, 0, &[], 0);
    let size = info.len() as u32;
    info[..4].copy_from_slice(&size.to_le_bytes());
    info
}

/// Adds a tag, padded to 8 bytes, that claims `beyond` bytes more than it has.
fn tag(info: &mut Vec<u8>, kind: u32, body: &[u8], beyond: u32) {
    info.extend(kind.to_le_bytes());
    info.extend((body.len() as u32 + 8 + beyond).to_le_bytes());
    info.extend(body);
    info.resize(info.len().next_multiple_of(8), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types and sizes of the tags, as a boot loader's client walks them.
    fn walk(info: &[u8]) -> Vec<(u32, u32)> {
        let word = |at: usize| u32::from_le_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        let mut tags = Vec::new();
        let mut at = 8;
        while at + 8 <= info.len() {
            tags.push((word(at), word(at + 4)));
            at = (at + word(at + 4) as usize).next_multiple_of(8);
        }
        assert_eq!(word(0) as usize, info.len());
        tags
    }

    #[test]
    fn an_undamaged_information_is_a_chain_of_tags_up_to_the_end_tag() {
        let info = boot_info("exit=0xf4", (0x1000, 0x2000), &[(0, 0x1000, USABLE)], &[0; 20], Damage::None);
        assert_eq!(walk(&info), [(1, 18), (2, 21), (3, 17), (6, 40), (14, 28), (0, 8)]);
    }

    #[test]
    fn damages_are_where_they_belong() {
        let memory = [(0, 0x1000, USABLE)];
        let empty = boot_info("", (0, 0), &memory, &[0; 20], Damage::EmptyMemoryMap);
        assert!(walk(&empty).contains(&(6, 16)));
        let long = boot_info("", (0, 0), &memory, &[0; 20], Damage::TagTooLong);
        assert_eq!(walk(&long).last(), Some(&(14, 28 + 0x1000)));
    }
}
