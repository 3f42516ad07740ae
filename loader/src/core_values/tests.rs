//! Each rule once, on types made for it. Real objects on real kernels: `diff-tests`.

use abi::imports::resized;
use abi::manifest::CoreRelocation;

use super::*;
use crate::btf_builder::{Builder, CONST, STRUCT, TYPEDEF, UNION};

/// Types of `task`: the object's view and the kernel's, which has moved everything.
fn local() -> Btf {
    let mut b = Builder::default();
    let int = b.int("int", 4, true); // 1
    let long = b.int("unsigned long", 8, false); // 2
    let array = b.array(int, 4); // 3
    let flexible = b.array(long, 0); // 4
    let pointer = b.pointer(0); // 5
    // 6
    b.structure(
        "task___mine",
        72,
        &[
            ("pid", int, 0),
            ("start", long, 64),
            ("comm", array, 128),
            ("mm", pointer, 256),
            ("gone", int, 320),
            ("slots", flexible, 384),
        ],
    );
    b.structure("missing", 4, &[("x", int, 0)]); // 7
    b.enumeration("state", 4, &[("RUNNING", 0), ("GONE", 1)]); // 8
    b.bitfields(STRUCT, "flags", 4, &[("a", int, 3, 5)]); // 9
    b.structure("twice", 4, &[("x", int, 0)]); // 10
    b.structure("", 4, &[("x", int, 0)]); // 11
    let word = b.int("unsigned int", 4, false); // 12
    let words = b.array(word, 4); // 13
    b.structure("counter", 24, &[("count", long, 0), ("each", words, 64)]);
    b.build()
}

fn kernel() -> Btf {
    let mut b = Builder::default();
    let int = b.int("int", 4, true);
    let long = b.int("unsigned long", 8, false);
    let array = b.array(int, 2);
    let flexible = b.array(long, 0);
    let pointer = b.pointer(0);
    let inside = b.composite(UNION, "", 8, &[("unused", long, 0), ("pid", int, 0)]);
    let pid_t = b.alias(TYPEDEF, "start_t", int);
    let start = b.alias(CONST, "", pid_t);
    let task = b.structure(
        "task",
        96,
        &[
            ("", inside, 64),
            ("start", start, 128),
            ("comm", array, 192),
            ("mm", pointer, 256),
            ("slots", flexible, 320),
        ],
    );
    assert_eq!(task, 9);
    b.enumeration("state", 4, &[("IDLE", 7), ("RUNNING", i64::from(u32::MAX))]);
    b.bitfields(
        STRUCT,
        "flags",
        8,
        &[("pad", int, 0, 30), ("a", int, 30, 5)],
    );
    b.structure("twice", 4, &[("x", int, 0)]);
    b.structure("twice", 8, &[("y", int, 0), ("x", int, 32)]);
    let short = b.int("unsigned short", 2, false);
    let longs = b.array(long, 4);
    b.structure("counter", 40, &[("count", short, 32), ("each", longs, 64)]);
    b.build()
}

fn relocation(kind: Kind, type_id: u32, access: &str, access_bytes: u32) -> CoreRelocation {
    let (kind, access) = (kind as u32, access.to_owned());
    CoreRelocation {
        import: String::new(),
        kind,
        type_id,
        access,
        access_bytes,
    }
}

fn values(relocations: &[CoreRelocation]) -> Vec<Result<u64>> {
    let kernel = kernel();
    evaluate(&local(), relocations, &Target::new(&kernel))
}

fn value(kind: Kind, type_id: u32, access: &str) -> Result<u64> {
    values(&[relocation(kind, type_id, access, 0)]).remove(0)
}

const POISONED: Result<u64> = Ok(POISON as u64);

#[test]
fn members_are_found_by_name_wherever_they_went() {
    assert_eq!(
        value(Kind::FieldByteOffset, 6, "0:0"),
        Ok(8),
        "in an anonymous union"
    );
    assert_eq!(value(Kind::FieldByteOffset, 6, "0:3"), Ok(32), "a pointer");
    assert_eq!(
        value(Kind::FieldByteOffset, 6, "1:3"),
        Ok(96 + 32),
        "of the second struct in a row"
    );
    assert_eq!(
        value(Kind::FieldByteSize, 6, "0:1"),
        Ok(4),
        "behind const and typedef"
    );
    assert_eq!(value(Kind::FieldSigned, 6, "0:0"), Ok(1));
    assert_eq!(value(Kind::FieldExists, 6, "0:0"), Ok(1));
}

#[test]
fn elements_must_be_inside_the_kernels_array() {
    assert_eq!(value(Kind::FieldByteOffset, 6, "0:2:1"), Ok(28));
    assert_eq!(value(Kind::FieldByteOffset, 6, "0:2:3"), POISONED);
    assert_eq!(
        value(Kind::FieldByteOffset, 6, "0:5:9"),
        Ok(40 + 72),
        "a flexible one has any"
    );
}

#[test]
fn what_is_missing_is_poison_unless_that_was_the_question() {
    assert_eq!(value(Kind::FieldByteOffset, 6, "0:4"), POISONED);
    assert_eq!(value(Kind::FieldByteSize, 7, "0:0"), POISONED);
    assert_eq!(value(Kind::FieldExists, 6, "0:4"), Ok(0));
    assert_eq!(value(Kind::TypeExists, 7, "0"), Ok(0));
    assert_eq!(value(Kind::TypeSize, 7, "0"), Ok(0));
    assert_eq!(value(Kind::EnumvalExists, 8, "1"), Ok(0));
    assert_eq!(value(Kind::EnumvalValue, 8, "1"), POISONED);
}

#[test]
fn a_load_takes_another_width_where_no_sign_is_in_the_way() {
    let load =
        |access, bytes| values(&[relocation(Kind::FieldByteOffset, 6, access, bytes)]).remove(0);
    assert_eq!(load("0:1", 8), POISONED, "the kernel's is signed");
    assert_eq!(
        load("0:1", 0),
        Ok(16),
        "an address is right whatever the size"
    );
    assert_eq!(load("0:3", 8), Ok(32), "a pointer is a pointer");
    let count = |bytes| values(&[relocation(Kind::FieldByteOffset, 14, "0:0", bytes)]).remove(0);
    assert_eq!(count(8), Ok(resized(4, 2)));
    assert_eq!(count(4), POISONED, "half of what was compiled");
    let each = |bytes| values(&[relocation(Kind::FieldByteOffset, 14, "0:1:2", bytes)]).remove(0);
    assert_eq!(
        each(4),
        Ok(resized(8 + 2 * 8, 8)),
        "elements count, not arrays"
    );
}

#[test]
fn types_and_enumerators_have_values() {
    assert_eq!(value(Kind::TypeExists, 6, "0"), Ok(1));
    assert_eq!(value(Kind::TypeSize, 6, "0"), Ok(96));
    assert_eq!(value(Kind::TypeIdLocal, 6, "0"), Ok(6));
    assert_eq!(value(Kind::TypeIdTarget, 6, "0"), Ok(9));
    assert_eq!(value(Kind::EnumvalExists, 8, "0"), Ok(1));
    assert_eq!(
        value(Kind::EnumvalValue, 8, "0"),
        Ok(u64::MAX),
        "sign-extended"
    );
    assert_eq!(value(Kind::TypeMatches, 10, "0"), Ok(1));
    assert_eq!(value(Kind::TypeMatches, 6, "0"), Ok(0), "`gone` is gone");
}

#[test]
fn bitfields_are_read_by_the_smallest_load_that_holds_them() {
    assert_eq!(value(Kind::FieldByteOffset, 9, "0:0"), Ok(0));
    assert_eq!(value(Kind::FieldByteSize, 9, "0:0"), Ok(8), "bits 30 to 34");
    assert_eq!(value(Kind::FieldLshift, 9, "0:0"), Ok(64 - 35));
    assert_eq!(value(Kind::FieldRshift, 9, "0:0"), Ok(64 - 5));
}

#[test]
fn what_cannot_be_decided_is_an_error() {
    let ambiguous = Err(Error::Ambiguous("twice".to_owned()));
    assert_eq!(value(Kind::FieldByteOffset, 10, "0:0"), ambiguous);
    assert_eq!(value(Kind::TypeExists, 11, "0"), Err(Error::Anonymous));
    assert_eq!(value(Kind::FieldExists, 99, "0:0"), Err(Error::Broken));
    for access in ["", "0:99", "0:0:0", "x", "0:2:9", "9"] {
        let kind = if access == "9" {
            Kind::EnumvalValue
        } else {
            Kind::FieldExists
        };
        let root = if access == "9" { 8 } else { 6 };
        assert_eq!(
            value(kind, root, access),
            Err(Error::Access(access.to_owned()))
        );
    }
    assert_eq!(
        value(Kind::TypeExists, 6, "0:1"),
        Err(Error::Access("0:1".to_owned()))
    );
    let unknown = CoreRelocation {
        kind: 99,
        ..relocation(Kind::FieldExists, 6, "0:0", 0)
    };
    assert_eq!(values(&[unknown]), [Err(Error::Kind(99))]);
}

#[test]
fn a_relocation_that_tells_candidates_apart_narrows_them_for_later_ones() {
    let mut b = Builder::default();
    let int = b.int("int", 4, true);
    b.structure("twice", 8, &[("x", int, 0), ("y", int, 32)]);
    let local = b.build();
    let relocations = [
        relocation(Kind::FieldByteOffset, 2, "0:1", 0),
        relocation(Kind::FieldByteOffset, 2, "0:0", 0),
    ];
    let kernel = kernel();
    assert_eq!(
        evaluate(&local, &relocations, &Target::new(&kernel)),
        [Ok(0), Ok(4)]
    );
}
