//! An object loaded and attached under a runtime, with its maps and events, the same for each runtime:
//! [`native`] is the kernel's own eBPF through libbpf, [`wasm`] the module on `/dev/wprobe`.

pub mod native;
pub mod perf;
pub mod wasm;

use std::iter::Sum;
use std::os::fd::BorrowedFd;

use anyhow::Result;

use crate::attach::Decision;

/// Elements of a map: key and value bytes; a per-CPU value is one padded value per possible CPU.
pub type Elements = Vec<(Vec<u8>, Vec<u8>)>;

/// Pages of a CPU's ring for a perf event array: as many as libbpf-tools' busiest have, so that a reader may be slow.
const PERF_PAGES: u32 = 256;

/// What a map sent to user space since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Events in the order they came: the CPU whose ring it was (rings that all CPUs share: 0), and the bytes.
    pub events: Vec<(u32, Vec<u8>)>,
    /// How many did not fit.
    pub lost: u64,
}

impl Sent {
    /// Whether there was nothing.
    pub fn is_empty(&self) -> bool {
        *self == Sent::default()
    }

    /// Adds what came later.
    pub fn append(&mut self, mut later: Sent) {
        self.events.append(&mut later.events);
        self.lost += later.lost;
    }
}

/// How often a program ran.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    /// The program.
    pub name: String,
    /// Runs.
    pub runs: u64,
    /// Events at which it could not run.
    pub misses: u64,
    /// Runs that ended in a trap.
    pub traps: u64,
    /// Why the last of these did.
    pub last_trap: Option<String>,
}

/// What an object's programs cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cost {
    /// Runs that were left out, because a program was under way on that CPU.
    pub misses: u64,
    /// Runs that were timed.
    pub timed: u64,
    /// How long these took.
    pub nanoseconds: u64,
}

impl Cost {
    /// What was added since `earlier`.
    pub fn since(self, earlier: Cost) -> Cost {
        Cost {
            misses: self.misses.saturating_sub(earlier.misses),
            timed: self.timed.saturating_sub(earlier.timed),
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), |sum, cost| Cost {
            misses: sum.misses + cost.misses,
            timed: sum.timed + cost.timed,
            nanoseconds: sum.nanoseconds + cost.nanoseconds,
        })
    }
}

/// An object under a runtime. Data sections are maps of one element, by their names in the object (`.bss`).
pub trait Session {
    /// Every element of map `name`, sorted by key.
    fn elements(&self, name: &str) -> Result<Elements>;
    /// Sets the value at `key`.
    fn update(&self, name: &str, key: &[u8], value: &[u8]) -> Result<()>;
    /// Removes `key`, if it is there.
    fn delete(&self, name: &str, key: &[u8]) -> Result<()>;
    /// Opens the rings of map `name`, so that its events are kept.
    fn listen(&mut self, name: &str) -> Result<()>;
    /// What came of map `name` since the last call, without waiting.
    fn sent(&mut self, name: &str) -> Result<Sent>;
    /// Descriptors that poll(2) finds readable when there is something to take: those of every map that is listened to.
    fn sources(&self) -> Vec<BorrowedFd<'_>>;
    /// What its programs cost so far.
    fn cost(&self) -> Result<Cost>;
    /// Attaches what it was opened with.
    fn attach(&mut self) -> Result<()>;
    /// Detaches everything; maps stay.
    fn detach(&mut self);
    /// Which programs are attached, and why the others are not.
    fn decisions(&self) -> &[Decision];
    /// Counts of programs that ran or should have; none where the runtime does not count.
    fn counts(&self) -> Result<Vec<Count>>;
    /// What a hand-written module reports; `None` if it has nothing to say.
    fn report(&self) -> Result<Option<String>>;
    /// What runs it, for whom and since when: a line each.
    fn about(&self) -> Result<String>;
    /// What a person may want to know of the loading.
    fn notes(&self) -> &[String];
}
