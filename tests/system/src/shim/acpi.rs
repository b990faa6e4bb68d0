//! ACPI tables of a QEMU q35 machine, made by hand: RSDP, RSDT, FADT, HPET,
//! MADT. Source: ACPI specification 6.4, sections 5.2.5 to 5.2.12; IA-PC HPET
//! specification 1.0a, section 3.2.4.

use super::Damage;

/// The power management timer's port, as the firmware of a q35 sets it.
const PM_TIMER: u32 = 0x608;
const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;
const HPET: u64 = 0xfed0_0000;
/// Every table gets this much room.
const ROOM: u32 = 0x800;

/// The tables and the RSDP that leads to them.
pub struct Tables {
    /// 20 bytes, revision 0.
    pub rsdp: Vec<u8>,
    /// What lies at the address the tables were made for.
    pub memory: Vec<u8>,
}

/// Makes the tables for the physical address `base`.
pub fn tables(base: u32, cores: u8, damage: Damage) -> Tables {
    let without_clocks = matches!(damage, Damage::NoClocks);
    let [fadt, hpet] = [fadt(), hpet()].map(|clock| if without_clocks { table(b"TEST", 1, &[]) } else { clock });
    let bodies = [fadt, hpet, madt(cores, damage)];
    let mut memory = vec![0; ROOM as usize];
    let mut root = Vec::new();
    for table in bodies {
        root.extend((base + memory.len() as u32).to_le_bytes());
        let end = memory.len() + ROOM as usize;
        memory.extend(table);
        assert!(memory.len() <= end, "a table is larger than its room");
        memory.resize(end, 0);
    }
    let root = table(b"RSDT", 1, &root);
    memory[..root.len()].copy_from_slice(&root);
    let mut rsdp = [&b"RSD PTR \0VELA  \0"[..], &base.to_le_bytes()].concat();
    rsdp[8] = checksum(&rsdp);
    Tables { rsdp, memory }
}

/// A table with its header and a right checksum.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 36).to_le_bytes();
    let mut table = [&signature[..], &length, &[revision, 0], b"VELA  SYSTEST ", &[1, 0, 0, 0]].concat();
    table.extend(b"TEST\x01\0\0\0");
    table.extend(body);
    table[9] = checksum(&table);
    table
}

/// What makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// Revision 1, with the timer alone.
fn fadt() -> Vec<u8> {
    let mut body = vec![0; 116 - 36];
    body[76 - 36..80 - 36].copy_from_slice(&PM_TIMER.to_le_bytes());
    body[91 - 36] = 4;
    table(b"FACP", 1, &body)
}

fn hpet() -> Vec<u8> {
    let block = 0x8086_a201u32.to_le_bytes();
    // In memory space, 64 bits wide.
    let address = [&[0, 64, 0, 0][..], &HPET.to_le_bytes()].concat();
    table(b"HPET", 1, &[&block[..], &address, &[0, 0, 0, 0]].concat())
}

fn madt(cores: u8, damage: Damage) -> Vec<u8> {
    // Legacy interrupt controllers are there, too.
    let mut body = [LOCAL_APIC.to_le_bytes(), 1u32.to_le_bytes()].concat();
    for core in 0..cores {
        body.extend([0, 8, core, core, 1, 0, 0, 0]);
    }
    body.extend([1, 12, cores, 0]);
    body.extend([IO_APIC.to_le_bytes(), [0; 4]].concat());
    match damage {
        Damage::MadtZeroLength => body.extend([4, 0, 0xff, 0, 0, 1]),
        Damage::MadtOverLong => body.extend([4, 0x40, 0xff, 0, 0, 1]),
        _ => body.extend([4, 6, 0xff, 0, 0, 1]),
    }
    let mut table = table(b"APIC", 1, &body);
    if damage == Damage::MadtChecksum {
        // The local APIC's address, one bit off.
        table[36] ^= 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(tables: &Tables) -> Vec<u8> {
        let table = |at: usize| {
            let length = u32::from_le_bytes([4, 5, 6, 7].map(|index| tables.memory[at + index])) as usize;
            checksum(&tables.memory[at..at + length])
        };
        (0..4).map(|index| table(index * ROOM as usize)).collect()
    }

    #[test]
    fn every_table_sums_to_zero_unless_the_checksum_is_the_damage() {
        for damage in [Damage::None, Damage::MadtZeroLength, Damage::MadtOverLong] {
            let tables = tables(0x400_0000, 4, damage);
            assert_eq!(sums(&tables), [0; 4]);
            assert_eq!((tables.rsdp.len(), checksum(&tables.rsdp)), (20, 0));
        }
        let damaged = sums(&tables(0x400_0000, 4, Damage::MadtChecksum));
        assert_eq!(damaged[..3], [0; 3]);
        assert_ne!(damaged[3], 0);
    }

    #[test]
    fn the_root_table_leads_to_each_table() {
        let base = 0x400_0000;
        let tables = tables(base, 1, Damage::None);
        for (index, signature) in [b"FACP", b"HPET", b"APIC"].iter().enumerate() {
            let at = [0, 1, 2, 3].map(|byte| tables.memory[36 + index * 4 + byte]);
            let at = (u32::from_le_bytes(at) - base) as usize;
            assert_eq!(&tables.memory[at..at + 4], *signature);
        }
    }
}
