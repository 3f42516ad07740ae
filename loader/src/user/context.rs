//! The context of a test run, as `BPF_PROG_TEST_RUN` makes it (`net/bpf/test_run.c`).
//!
//! A packet is copied behind the maps. `struct xdp_md` and `struct __sk_buff` hold its bounds as guest
//! offsets; translated programs turn those into pointers. What is said here of fields is what the
//! kernel shows on the loopback device, which its own test runs use.

use abi::sections::{self, ProgType};

use super::{PACKET_AREA, UserSandbox};

/// Bytes of an Ethernet header.
const ETH_HLEN: u32 = 14;
/// `XDP_PACKET_HEADROOM`: room before the packet.
const HEADROOM: u32 = 256;
/// Index of the loopback device.
const LOOPBACK: u32 = 1;

/// Sizes and fields of `struct xdp_md`.
mod xdp {
    pub(super) const SIZE: usize = 24;
    pub(super) const DATA: usize = 0;
    pub(super) const DATA_END: usize = 4;
    pub(super) const DATA_META: usize = 8;
    pub(super) const INGRESS_IFINDEX: usize = 12;
}

/// Sizes and fields of `struct __sk_buff`.
mod skb {
    pub(super) const SIZE: usize = 192;
    pub(super) const LEN: usize = 0;
    pub(super) const PKT_TYPE: usize = 4;
    pub(super) const PROTOCOL: usize = 16;
    pub(super) const IFINDEX: usize = 40;
    pub(super) const DATA: usize = 76;
    pub(super) const DATA_END: usize = 80;
    pub(super) const DATA_META: usize = 140;
    pub(super) const WIRE_LEN: usize = 160;
}

/// What a program is run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestInput {
    /// The packet.
    pub data: Vec<u8>,
    /// The context's bytes, for program types whose context user space gives.
    pub context: Vec<u8>,
}

/// How a context is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// `struct xdp_md` over a packet.
    Xdp,
    /// `struct __sk_buff` over a packet; where `link_layer`, the packet begins with its Ethernet header.
    Skb { link_layer: bool },
    /// Bytes as given.
    Bytes,
}

/// Why an input does not fit a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputError {
    /// A packet shorter than an Ethernet header.
    ShortPacket(usize),
    /// A packet larger than there is room for.
    LongPacket(usize),
    /// A context larger than there is room for.
    LongContext(usize),
    /// A packet for a program that gets none.
    NoPacket,
    /// A context for a program whose context the runtime makes.
    NoContext,
}

impl std::fmt::Display for InputError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ShortPacket(len) => {
                write!(
                    f,
                    "the packet has {len} bytes, less than an Ethernet header's 14"
                )
            }
            Self::LongPacket(len) => {
                let most = PACKET_AREA - HEADROOM;
                write!(f, "the packet has {len} bytes, more than {most}")
            }
            Self::LongContext(len) => {
                let most = abi::layout::CONTEXT_SIZE;
                write!(f, "the context has {len} bytes, more than {most}")
            }
            Self::NoPacket => f.write_str("programs of this type get no packet, only a context"),
            Self::NoContext => {
                f.write_str("programs of this type get a packet, and no other context")
            }
        }
    }
}

impl std::error::Error for InputError {}

/// A prepared run: the context that goes in, and how to find the packet afterwards.
#[derive(Debug)]
pub struct Prepared {
    /// The context's bytes.
    pub context: Vec<u8>,
    bounds: Option<Bounds>,
}

/// Where a context has the packet's bounds, and how far before them the packet proper begins.
#[derive(Debug)]
struct Bounds {
    data: usize,
    data_end: usize,
    pulled: u32,
}

impl Shape {
    fn of(section: &str) -> Self {
        let row = sections::find(section.trim_start_matches('?'));
        match row.map(|(row, _)| row.prog_type) {
            Some(ProgType::Xdp) => Shape::Xdp,
            Some(
                ProgType::SchedCls
                | ProgType::SchedAct
                | ProgType::LwtIn
                | ProgType::LwtOut
                | ProgType::LwtXmit
                | ProgType::LwtSeg6local,
            ) => Shape::Skb { link_layer: true },
            Some(ProgType::SocketFilter | ProgType::CgroupSkb | ProgType::SkSkb) => {
                Shape::Skb { link_layer: false }
            }
            _ => Shape::Bytes,
        }
    }
}

/// Puts `input` into `sandbox` for a program of `section`.
///
/// # Errors
///
/// The input does not fit the program's type.
pub fn prepare(
    sandbox: &UserSandbox,
    section: &str,
    input: &TestInput,
) -> Result<Prepared, InputError> {
    match Shape::of(section) {
        Shape::Bytes if !input.data.is_empty() => Err(InputError::NoPacket),
        Shape::Bytes if input.context.len() > abi::layout::CONTEXT_SIZE as usize => {
            Err(InputError::LongContext(input.context.len()))
        }
        Shape::Bytes => Ok(Prepared {
            context: input.context.clone(),
            bounds: None,
        }),
        _ if !input.context.is_empty() => Err(InputError::NoContext),
        Shape::Xdp => Ok(xdp_md(place(sandbox, &input.data)?)),
        Shape::Skb { link_layer } => {
            let packet = place(sandbox, &input.data)?;
            Ok(sk_buff(packet, &input.data, link_layer))
        }
    }
}

/// A packet's first byte and the one after its last.
#[derive(Clone, Copy)]
struct Packet {
    start: u32,
    end: u32,
}

fn place(sandbox: &UserSandbox, data: &[u8]) -> Result<Packet, InputError> {
    if data.len() < ETH_HLEN as usize {
        return Err(InputError::ShortPacket(data.len()));
    }
    if data.len() > (PACKET_AREA - HEADROOM) as usize {
        return Err(InputError::LongPacket(data.len()));
    }
    let start = sandbox.packet_area() + HEADROOM;
    let len = data.len() as u32;
    sandbox.bytes(start, len).write(data);
    Ok(Packet {
        start,
        end: start + len,
    })
}

fn put(context: &mut [u8], at: usize, value: u32) {
    context[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn xdp_md(packet: Packet) -> Prepared {
    let mut context = vec![0; xdp::SIZE];
    put(&mut context, xdp::DATA, packet.start);
    put(&mut context, xdp::DATA_END, packet.end);
    put(&mut context, xdp::DATA_META, packet.start);
    put(&mut context, xdp::INGRESS_IFINDEX, LOOPBACK);
    let bounds = Bounds {
        data: xdp::DATA,
        data_end: xdp::DATA_END,
        pulled: 0,
    };
    Prepared {
        context,
        bounds: Some(bounds),
    }
}

fn sk_buff(packet: Packet, data: &[u8], link_layer: bool) -> Prepared {
    let mut context = vec![0; skb::SIZE];
    let pulled = if link_layer { 0 } else { ETH_HLEN };
    let start = packet.start + pulled;
    put(&mut context, skb::LEN, packet.end - start);
    put(&mut context, skb::PKT_TYPE, packet_type(data));
    let protocol = u32::from(u16::from_le_bytes([data[12], data[13]]));
    put(&mut context, skb::PROTOCOL, protocol);
    put(&mut context, skb::IFINDEX, LOOPBACK);
    put(&mut context, skb::DATA, start);
    put(&mut context, skb::DATA_END, packet.end);
    put(&mut context, skb::DATA_META, start);
    put(&mut context, skb::WIRE_LEN, packet.end - start);
    let bounds = Bounds {
        data: skb::DATA,
        data_end: skb::DATA_END,
        pulled,
    };
    Prepared {
        context,
        bounds: Some(bounds),
    }
}

/// `PACKET_*` by the destination address, on a device whose address is zero (`eth_type_trans`).
fn packet_type(data: &[u8]) -> u32 {
    const HOST: u32 = 0;
    const BROADCAST: u32 = 1;
    const MULTICAST: u32 = 2;
    const OTHERHOST: u32 = 3;
    match &data[..6] {
        [0, 0, 0, 0, 0, 0] => HOST,
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => BROADCAST,
        [first, ..] if first & 1 != 0 => MULTICAST,
        _ => OTHERHOST,
    }
}

impl Prepared {
    /// The packet as the last run left it; `None` for programs without one, or if its bounds are nonsense.
    pub fn packet(&self, sandbox: &UserSandbox) -> Option<Vec<u8>> {
        let bounds = self.bounds.as_ref()?;
        let context = sandbox.context(self.context.len());
        let field = |at: usize| u32::from_le_bytes(*context[at..].first_chunk().expect("4 bytes"));
        let start = field(bounds.data).checked_sub(bounds.pulled)?;
        let len = field(bounds.data_end).checked_sub(start)?;
        let slice = sandbox.space().memory().at(start, u64::from(len))?;
        let mut bytes = vec![0; len as usize];
        slice.read(&mut bytes);
        Some(bytes)
    }
}
