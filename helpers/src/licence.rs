//! The licence that a module declares, in the custom section [`LICENSE_SECTION`]: what the kernel module's check of GPL-only helpers
//! goes by, as the kernel's own goes by the string that a loader gives.

use abi::manifest::LICENSE_SECTION;

/// Bytes of magic and version.
const HEADER: usize = 8;

/// The licence of the module `wasm`; empty if it declares none. Any bytes do.
pub fn of(wasm: &[u8]) -> &str {
    let mut rest = wasm.get(HEADER..).unwrap_or_default();
    while let Some((&id, after)) = rest.split_first() {
        let Some((section, after)) = sized(after) else {
            break;
        };
        rest = after;
        match sized(section) {
            Some((name, text)) if id == 0 && name == LICENSE_SECTION.as_bytes() => {
                return core::str::from_utf8(text).unwrap_or_default();
            }
            _ => {}
        }
    }
    ""
}

/// What has its size before it (LEB128), and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut size = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        size |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return bytes[i + 1..].split_at_checked(usize::try_from(size).ok()?);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(id: u8, name: &str, text: &[u8]) -> alloc::vec::Vec<u8> {
        let mut bytes = alloc::vec![id, (1 + name.len() + text.len()) as u8, name.len() as u8];
        bytes.extend(name.as_bytes());
        bytes.extend(text);
        bytes
    }

    #[test]
    fn the_licence_is_found_and_nothing_else_is() {
        let header = b"\0asm\x01\0\0\0";
        let other = section(0, "name", b"GPL");
        let licence = section(0, LICENSE_SECTION, b"Dual MIT/GPL");
        let code = section(10, LICENSE_SECTION, b"GPL");
        let module = |sections: &[&[u8]]| [&[&header[..]], sections].concat().concat();
        assert_eq!(of(&module(&[&other, &licence])), "Dual MIT/GPL");
        assert_eq!(of(&module(&[&other, &code])), "");
        let whole = module(&[&other, &licence]);
        for end in 0..whole.len() {
            assert_eq!(of(&whole[..end]), "", "{end}");
        }
        assert_eq!(of(&module(&[&section(0, LICENSE_SECTION, &[0xff])])), "");
    }
}
