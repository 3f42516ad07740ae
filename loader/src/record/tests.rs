use super::*;
use crate::layout::Layout;

fn read(members: &str, bytes: &[u8]) -> Value {
    let layout = Layout::parse(&format!("struct e {{ {members} }};")).unwrap();
    let (id, _) = layout.event("e").unwrap();
    Record::read(Some(layout.btf()), id, bytes).to_json()
}

#[test]
fn text_ends_at_its_nul_and_arguments_at_their_size() {
    let bytes = b"ls\0junk!";
    assert_eq!(read("char comm[8];", bytes)["comm"], "ls");
    let mut bytes = 6u32.to_le_bytes().to_vec();
    bytes.extend(b"ls\0-a\0junk");
    let value = read("int args_size; char args[64];", &bytes);
    assert_eq!(value["args"], "ls -a");
}

#[test]
fn addresses_and_ports_are_as_people_write_them() {
    let members = "union { __be32 saddr_v4; __u8 saddr_v6[16]; }; __u32 af; __be16 dport;";
    let event = |address: [u8; 16], af: u32| {
        let mut bytes = address.to_vec();
        bytes.extend(af.to_le_bytes());
        bytes.extend([0, 80, 0, 0]);
        read(members, &bytes)
    };
    let mut v4 = [0; 16];
    v4[..4].copy_from_slice(&[127, 0, 0, 1]);
    let mut v6 = [0; 16];
    v6[15] = 1;
    assert_eq!(
        event(v4, 2),
        json!({ "saddr": "127.0.0.1", "af": 2, "dport": 80 })
    );
    assert_eq!(event(v6, 10)["saddr"], "::1");
    assert_eq!(event([0; 16], 10)["saddr"], "::");
    assert_eq!(event([0; 16], 2)["saddr"], "0.0.0.0");
}

#[test]
fn slots_and_stacks_are_told_from_other_arrays() {
    let layout = Layout::parse(
        "struct e { __u32 slots[8]; __u64 kern_stack[3]; int user_stack_id; __u32 few[2]; };",
    )
    .unwrap();
    let (id, size) = layout.event("e").unwrap();
    let mut bytes = vec![0; size];
    bytes[4] = 3;
    bytes[32] = 0x10;
    bytes[56..60].copy_from_slice(&(-17i32).to_le_bytes());
    let record = Record::read(Some(layout.btf()), id, &bytes);
    assert_eq!(
        record.cell("slots"),
        Some(&Cell::Slots(vec![0, 3, 0, 0, 0, 0, 0, 0]))
    );
    assert_eq!(record.cell("kern_stack"), Some(&Cell::Stack(vec![0x10])));
    assert_eq!(record.cell("user_stack_id"), Some(&Cell::StackId(-17)));
    assert_eq!(record.cell("few"), Some(&Cell::Plain(json!([0, 0]))));
}

#[test]
fn what_has_no_type_is_shown_as_bytes_and_what_is_cut_does_no_harm() {
    assert_eq!(Record::read(None, 0, &[1, 0xab]).to_json(), json!("01ab"));
    let value = read(
        "__u64 a; char text[4]; union { __be32 x_v4; __u8 x_v6[16]; };",
        &[1],
    );
    assert_eq!(value["text"], "");
}

#[test]
fn numbers_stand_for_what_their_types_say() {
    let layout = "struct e { errno_t ret; open_flags_t flags; dev_t dev; __u32 nr; };";
    let layout = Layout::parse(layout).unwrap();
    let (id, _) = layout.event("e").unwrap();
    let bytes = [-2, 0o2_000_000, 8 << 20, 1].map(i32::to_le_bytes);
    let mut record = Record::read(Some(layout.btf()), id, bytes.as_flattened());
    record.mean("nr", Meaning::Syscall);
    let cells: Vec<_> = record.fields.iter().map(|field| &field.cell).collect();
    let expected = [
        &Cell::Named(Meaning::Errno, -2),
        &Cell::Named(Meaning::OpenFlags, 0o2_000_000),
        &Cell::Named(Meaning::Device, 8 << 20),
        &Cell::Named(Meaning::Syscall, 1),
    ];
    assert_eq!(cells, expected);
    // For programs they are the numbers they are.
    let json = json!({ "ret": -2, "flags": 0o2_000_000, "dev": 8 << 20, "nr": 1 });
    assert_eq!(record.to_json(), json);
    assert_eq!(record.number("ret"), Some(-2));
}

#[test]
fn padding_is_not_shown() {
    let members = "__u8 kind; __u8 pad[3]; __u32 __pad1; __u32 padded; __u16 _padding;";
    let value = read(members, &[1; 16]);
    assert_eq!(value, json!({ "kind": 1, "padded": 0x0101_0101 }));
}
