//! A plugin of QEMU: which cache lines of the kernel's several CPUs use, and at least one writes.
//!
//! The guest says when: a store to [`BEGIN`] begins a turn, one to [`END`] ends it. Each turn is a line of the file that the
//! argument `out=` names: of every line that two CPUs used at least `least=` times each, and that was written as often, its
//! address, and the instruction that wrote it last. QEMU runs all CPUs in one thread here, which is what makes this exact.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;

const BEGIN: u64 = 0x5ca1_ab1e_0000;
const END: u64 = 0x5ca1_ab1e_0100;
/// Bits of an address that are within a line.
const LINE: u32 = 6;
/// `QEMU_PLUGIN_CB_NO_REGS`, `QEMU_PLUGIN_MEM_RW`, of qemu-plugin.h.
const NO_REGISTERS: c_int = 0;
const READS_AND_WRITES: c_int = 3;

/// What qemu-plugin.h calls its version.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "QEMU looks for this name")]
pub static qemu_plugin_version: c_int = 1;

type Translated = extern "C" fn(u64, *mut c_void);
type Accessed = extern "C" fn(c_uint, u32, u64, *mut c_void);

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(plugin: u64, call: Translated);
    fn qemu_plugin_tb_n_insns(block: *const c_void) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const c_void, index: usize) -> *mut c_void;
    fn qemu_plugin_insn_vaddr(instruction: *const c_void) -> u64;
    fn qemu_plugin_register_vcpu_mem_cb(
        instruction: *mut c_void,
        call: Accessed,
        flags: c_int,
        which: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_mem_is_store(info: u32) -> bool;
}

/// How often CPUs used a line.
#[derive(Default)]
struct Use {
    by: [u64; 2],
    writes: u64,
    /// The instruction that wrote it last.
    writer: u64,
}

struct Turn {
    lines: HashMap<u64, Use>,
    is_on: bool,
    least: u64,
    out: File,
}

static TURN: Mutex<Option<Turn>> = Mutex::new(None);

impl Turn {
    fn end(&mut self) -> std::io::Result<()> {
        self.is_on = false;
        let is_shared =
            |used: &Use| used.by.iter().all(|n| *n >= self.least) && used.writes >= self.least;
        let shared = self.lines.iter().filter(|(_, used)| is_shared(used));
        let shared = shared.map(|(line, used)| format!("[{},{}]", line << LINE, used.writer));
        writeln!(self.out, "[{}]", shared.collect::<Vec<_>>().join(","))
    }
}

extern "C" fn accessed(cpu: c_uint, info: u32, address: u64, instruction: *mut c_void) {
    let mut turn = TURN.lock().expect("nothing panics here");
    let Some(turn) = turn.as_mut() else { return };
    if address >> 63 == 0 {
        match address {
            BEGIN => {
                turn.lines.clear();
                turn.is_on = true;
            }
            END => turn.end().expect("a file that can be written"),
            _ => {}
        }
    } else if turn.is_on {
        let used = turn.lines.entry(address >> LINE).or_default();
        used.by[cpu as usize & 1] += 1;
        // SAFETY: it only looks at the bits of `info`, which is QEMU's.
        if unsafe { qemu_plugin_mem_is_store(info) } {
            used.writes += 1;
            used.writer = instruction as u64;
        }
    }
}

extern "C" fn translated(_plugin: u64, block: *mut c_void) {
    // SAFETY: QEMU's own block, which is there during this call; indices are below what it says.
    unsafe {
        for index in 0..qemu_plugin_tb_n_insns(block) {
            let instruction = qemu_plugin_tb_get_insn(block, index);
            let address = qemu_plugin_insn_vaddr(instruction) as *mut c_void;
            qemu_plugin_register_vcpu_mem_cb(
                instruction,
                accessed,
                NO_REGISTERS,
                READS_AND_WRITES,
                address,
            );
        }
    }
}

/// What QEMU calls first; 0 if it may go on.
///
/// # Safety
///
/// As qemu-plugin.h says: `words` are `count` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    plugin: u64,
    _info: *const c_void,
    count: c_int,
    words: *const *const c_char,
) -> c_int {
    let word = |i| {
        // SAFETY: as the caller says.
        unsafe { CStr::from_ptr(*words.add(i)) }.to_string_lossy()
    };
    let words: Vec<_> = (0..count as usize).map(word).collect();
    let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
    let (Some(out), Some(Ok(least))) = (value("out="), value("least=").map(str::parse)) else {
        return 1;
    };
    let Ok(out) = File::create(out) else { return 1 };
    *TURN.lock().expect("nothing panics here") = Some(Turn {
        lines: HashMap::new(),
        is_on: false,
        least,
        out,
    });
    // SAFETY: as qemu-plugin.h says.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated) };
    0
}
