//! What is measured.
//!
//! Invariants: repetitions are the same wherever the program runs.
//! Concurrency: one thread; the pipes have a second process on the other processor.

use core::sync::atomic::AtomicU8;

use crate::linux::{self, Refusal, call, exits, number as nr, print, ticks};

/// Iterations of the loop in user mode, two instructions each.
const SPINS: u64 = 100_000_000;
const CALLS: u32 = 100_000;
const PROCESSES: u32 = 50;
const ROUNDS: u32 = 1_000;
const SMALL: (usize, u32) = (4096, 256);
const LARGE: (usize, u32) = (1 << 20, 16);
/// Bytes of the disk that are read, from the start on.
const DISK: usize = 4 << 20;
const FRAMES: u32 = 1_000;
const FRAME: usize = 1514;

const READ_DIRECTLY: usize = 0o40000;
/// Request of a terminal: wait until all is sent.
const DRAIN: usize = 0x5409;

/// What the disk is read to.
#[repr(align(4096))]
struct Buffer([AtomicU8; LARGE.0]);
static BUFFER: Buffer = Buffer([const { AtomicU8::new(0) }; LARGE.0]);

/// What is measured unless the program is asked for something else.
pub const ALL: [fn() -> Result<(), Refusal>; 3] = [processor, devices, network];

/// Says how far the machine has come, measures, and ends the machine.
pub fn run(parts: &[fn() -> Result<(), Refusal>]) {
    let start = ticks();
    if let Err(why) = linux::allow_ports() {
        print(format_args!("no ports: {why}"));
    }
    linux::report_exits();
    let (exits, idle) = (exits(), idle().unwrap_or(0));
    match exits {
        Some(exits) => {
            print(format_args!(
                "{{\"name\":\"init\",\"count\":1,\"ticks\":{start},\"idle\":{idle},\"exits\":{exits}}}"
            ));
        }
        None => print(format_args!("{{\"name\":\"init\",\"count\":1,\"ticks\":{start},\"idle\":{idle}}}")),
    }
    for part in parts {
        if let Err(why) = part() {
            print(format_args!("{why}"));
        }
    }
    print(format_args!("done"));
    // What was printed has to be out before the machine is gone: waits for the serial port.
    let _ = call(nr::IOCTL, [1, DRAIN, 1, 0, 0, 0]);
    linux::end();
}

/// Nanoseconds that the processors have been idle, as the kernel's list of timers has them.
fn idle() -> Result<u64, Refusal> {
    // It may be there already.
    let _ = call(nr::MOUNT, [address(c"proc"), address(c"/proc"), address(c"proc"), 0, 0, 0]);
    let list = call(nr::OPEN, [address(c"/proc/timer_list"), 0, 0, 0, 0, 0])?;
    let mut text = [0_u8; 16384];
    let mut length = 0;
    while let Some(room) = text.get_mut(length..).filter(|room| !room.is_empty()) {
        match call(nr::READ, [list, room.as_mut_ptr() as usize, room.len(), 0, 0, 0])? {
            0 => break,
            count => length += count,
        }
    }
    let lines = text.get(..length).unwrap_or_default().split(|byte| *byte == b'\n');
    let names: [&[u8]; 2] = [b".idle_sleeptime", b".iowait_sleeptime"];
    let ours = lines.filter(|line| names.iter().any(|name| line.trim_ascii_start().starts_with(name)));
    let number = |line: &[u8]| {
        let digits = line.iter().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
        digits.fold(0_u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    };
    Ok(ours.map(number).sum())
}

/// What the processor does by itself.
fn processor() -> Result<(), Refusal> {
    measure("user_loop", 1, || {
        linux::spin(SPINS);
        Ok(())
    });
    measure("system_call", CALLS, || (0..CALLS).try_for_each(|_| call(nr::GETPPID, [0; 6]).map(drop)));
    measure("fork_exec", PROCESSES, || (0..PROCESSES).try_for_each(|_| process()));
    Ok(())
}

/// The disk.
fn devices() -> Result<(), Refusal> {
    start_devices()?;
    let disk = call(nr::OPEN, [address(c"/dev/vda"), READ_DIRECTLY, 0, 0, 0, 0])?;
    for (name, (size, count)) in [("block_4k", SMALL), ("block_1m", LARGE)] {
        measure(name, count, || (0..count).try_for_each(|index| read(disk, size, index as usize)));
    }
    Ok(())
}

/// The network.
fn network() -> Result<(), Refusal> {
    let (socket, index) = interface()?;
    measure("net_send", FRAMES, || (0..FRAMES).try_for_each(|_| send(socket, index)));
    Ok(())
}

/// Does something between two marks and prints what it took.
fn measure(name: &str, count: u32, work: impl FnOnce() -> Result<(), Refusal>) {
    let before = exits();
    let start = ticks();
    let done = work();
    let end = ticks();
    let ticks = end.wrapping_sub(start);
    match (done, before, exits()) {
        (Err(why), ..) => print(format_args!("{{\"name\":\"{name}\",\"error\":\"{why}\"}}")),
        (Ok(()), Some(before), Some(after)) => {
            // The reading itself leaves the guest once.
            let exits = after.wrapping_sub(before).saturating_sub(1);
            print(format_args!("{{\"name\":\"{name}\",\"count\":{count},\"ticks\":{ticks},\"exits\":{exits}}}"));
        }
        _ => print(format_args!("{{\"name\":\"{name}\",\"count\":{count},\"ticks\":{ticks}}}")),
    }
}

fn address(text: &'static core::ffi::CStr) -> usize {
    text.as_ptr() as usize
}

/// A process that starts this program anew, which ends at once.
fn process() -> Result<(), Refusal> {
    let path = address(c"/measure");
    let arguments = [path, address(c"end"), 0];
    match call(nr::FORK, [0; 6])? {
        0 => {
            let _ = call(nr::EXECVE, [path, arguments.as_ptr() as usize, arguments.as_ptr() as usize + 16, 0, 0, 0]);
            linux::exit()
        }
        child => call(nr::WAIT, [child, 0, 0, 0, 0, 0]).map(drop),
    }
}

/// Mounts the device nodes and loads the drivers of the initial file system.
fn start_devices() -> Result<(), Refusal> {
    // The kernel may have mounted them already.
    let _ = call(nr::MOUNT, [address(c"dev"), address(c"/dev"), address(c"devtmpfs"), 0, 0, 0]);
    let order = call(nr::OPEN, [address(c"/drivers/order"), 0, 0, 0, 0, 0])?;
    let mut text = [0; 1024];
    let length = call(nr::READ, [order, text.as_mut_ptr() as usize, text.len(), 0, 0, 0])?;
    for name in text.get(..length).unwrap_or_default().split(|byte| *byte == b'\n').filter(|name| !name.is_empty()) {
        let mut path = [0; 128];
        let parts = b"/drivers/".iter().chain(name);
        path.iter_mut().zip(parts).take(127).for_each(|(to, from)| *to = *from);
        let file = call(nr::OPEN, [path.as_ptr() as usize, 0, 0, 0, 0, 0])?;
        call(nr::LOAD_MODULE, [file, address(c""), 0, 0, 0, 0])?;
        let _ = call(nr::CLOSE, [file, 0, 0, 0, 0, 0]);
    }
    Ok(())
}

fn read(disk: usize, size: usize, index: usize) -> Result<(), Refusal> {
    call(nr::PREAD, [disk, BUFFER.0.as_ptr() as usize, size, index * size % DISK, 0, 0]).map(drop)
}

/// A request of a network interface: its name, and flags or number.
#[repr(C)]
struct Interface {
    name: [u8; 16],
    value: [u32; 6],
}

/// A socket for frames of the first interface, which is up then, and the interface's number.
fn interface() -> Result<(usize, u32), Refusal> {
    const PACKETS: usize = 17;
    const RAW: usize = 3;
    const SET_FLAGS: usize = 0x8914;
    const GET_INDEX: usize = 0x8933;
    const UP: u32 = 1;
    let socket = call(nr::SOCKET, [PACKETS, RAW, 0, 0, 0, 0])?;
    let mut interface = Interface { name: [0; 16], value: [UP, 0, 0, 0, 0, 0] };
    interface.name.iter_mut().zip(b"eth0").for_each(|(to, from)| *to = *from);
    let request = |command: usize, interface: &mut Interface| {
        call(nr::IOCTL, [socket, command, core::ptr::from_mut(interface) as usize, 0, 0, 0])
    };
    request(SET_FLAGS, &mut interface)?;
    interface.value = [0; 6];
    request(GET_INDEX, &mut interface)?;
    Ok((socket, interface.value[0]))
}

/// Sends a frame to nobody.
fn send(socket: usize, index: u32) -> Result<(), Refusal> {
    let mut frame = [0_u8; FRAME];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 99, 2, 0, 0, 0, 0, 1, 0x88, 0xB5]);
    // An address of packets: family and protocol, interface, then kind of hardware, of packet, length of address, address.
    let to = [17 | 0xB588 << 16, index, 6 << 24, 0x0000_0002, 0x0000_6300];
    call(nr::SEND_TO, [socket, frame.as_ptr() as usize, FRAME, 0, to.as_ptr() as usize, 20]).map(drop)
}

/// A byte there and back over two pipes between processes on two processors.
pub fn processors() -> Result<(), Refusal> {
    let pair = || -> Result<[usize; 2], Refusal> {
        let mut ends = [0_u32; 2];
        call(nr::PIPE, [ends.as_mut_ptr() as usize, 0, 0, 0, 0, 0])?;
        Ok(ends.map(|end| end as usize))
    };
    let (there, back) = (pair()?, pair()?);
    let pin = |mask: u64| call(nr::SET_AFFINITY, [0, 8, core::ptr::from_ref(&mask) as usize, 0, 0, 0]);
    let pass = |command: usize, end: usize| {
        let mut byte = 0_u8;
        call(command, [end, core::ptr::from_mut(&mut byte) as usize, 1, 0, 0, 0])
    };
    // Without a second processor there is nothing to measure.
    pin(2)?;
    pin(1)?;
    if call(nr::FORK, [0; 6])? == 0 {
        let _ = pin(2);
        while pass(nr::READ, there[0]).is_ok() && pass(nr::WRITE, back[1]).is_ok() {}
        linux::exit();
    }
    let round = || pass(nr::WRITE, there[1]).and_then(|_| pass(nr::READ, back[0])).map(drop);
    round()?;
    measure("pipe", ROUNDS, || (0..ROUNDS).try_for_each(|_| round()));
    Ok(())
}
