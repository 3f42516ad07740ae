//! `bpf.packet_load*`: the legacy loads of classic BPF (RFC 9669 section 5.5, `bpf_skb_load_helper_*`).

use abi::traps::Trap;

use super::Run;
use crate::work::price;

/// Offsets of `data` and `data_end` in `struct __sk_buff`; the runtime keeps guest offsets there.
const DATA: u32 = 76;
const DATA_END: u32 = 80;

/// What a load beyond the packet gives; the translated program then returns 0.
const TOO_SHORT: u64 = u64::MAX;

/// `width` bytes at `offset` of the packet of `context`, from network to host order. Offsets relative to
/// a header (`SKF_NET_OFF`, `SKF_LL_OFF`: negative) count as beyond the packet.
///
/// # Errors
///
/// [`Trap::BadPointer`] if `context` is none, or its bounds leave guest memory.
pub fn packet_load<H>(
    run: &Run<'_, H>,
    width: u32,
    context: u64,
    offset: u64,
) -> Result<u64, Trap> {
    run.work.units(price::LOAD)?;
    let memory = run.space.memory();
    let bounds = memory.slice(context, u64::from(DATA_END) + 4)?;
    let [data, end] = [DATA, DATA_END].map(|at| bounds.from(at as usize).first(4).word_at(0));
    let at = match u32::try_from(offset as i32) {
        Ok(offset) => data + u64::from(offset),
        Err(_) => return Ok(TOO_SHORT),
    };
    if at + u64::from(width) > end {
        return Ok(TOO_SHORT);
    }
    let bytes = memory
        .at(at as u32, u64::from(width))
        .ok_or(Trap::BadPointer)?;
    Ok(bytes.word_at(0).swap_bytes() >> (64 - 8 * width))
}
