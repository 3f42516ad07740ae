//! Numbers one by one.

use abi::imports::KFUNC;
use wprobe_helpers::imports::{Action, host_function};
use wprobe_helpers::work::price::BYTES;

use super::*;

/// Calls kernel function `name` on a run with `work` left; what the run has left then.
pub(crate) fn kfunc(
    space: &Space,
    name: &str,
    args: &[u64],
    work: u64,
) -> (Result<u64, Trap>, u64) {
    let mut all = [0; 5];
    all[..args.len()].copy_from_slice(args);
    let work = Work::new(work);
    let run = Run {
        work: &work,
        ..run(space)
    };
    let result = match host_function(KFUNC, name).unwrap().action {
        Action::Call(function) => function(&run, all),
        _ => panic!("{name} needs the engine"),
    };
    (result, work.left())
}

const AT: u64 = guest_ptr(64);

fn call(space: &Space, name: &str, args: &[u64]) -> Result<u64, Trap> {
    kfunc(space, name, args, u64::MAX).0
}

/// What a range gives, `most` numbers of it.
fn range(space: &Space, start: i32, end: i32, most: usize) -> (i64, Vec<i32>) {
    let begun = call(
        space,
        "bpf_iter_num_new",
        &[AT, start as u32 as u64, end as u32 as u64],
    );
    let numbers = std::iter::from_fn(|| match call(space, "bpf_iter_num_next", &[AT]) {
        Ok(0) => None,
        Ok(AT) => Some(space.memory().at(64, 4).unwrap().word_at(0) as i32),
        other => panic!("{other:?}"),
    });
    let numbers = numbers.take(most).collect();
    assert_eq!(call(space, "bpf_iter_num_destroy", &[AT]), Ok(0));
    assert_eq!(call(space, "bpf_iter_num_next", &[AT]), Ok(0), "over");
    (begun.unwrap() as i64, numbers)
}

#[test]
fn ranges_give_their_numbers() {
    let space = space();
    for (start, end) in [
        (0, 100),
        (-3, 3),
        (i32::MAX - 2, i32::MAX),
        (i32::MIN, i32::MIN + 2),
    ] {
        let numbers: Vec<i32> = (start..end).collect();
        assert_eq!(range(&space, start, end, 1000), (0, numbers));
    }
    assert_eq!(range(&space, 7, 7, 1000), (0, vec![]));
    assert_eq!(range(&space, 8, 7, 1000), (-22, vec![]));
    assert_eq!(range(&space, i32::MAX, i32::MIN, 1000), (-22, vec![]));
    assert_eq!(range(&space, 0, 8 << 20, 2), (0, vec![0, 1]));
    assert_eq!(range(&space, 0, (8 << 20) + 1, 2), (-7, vec![]));
    assert_eq!(range(&space, i32::MIN, i32::MAX, 2), (-7, vec![]));
}

#[test]
fn an_iterator_is_guest_memory_and_each_number_is_paid_for() {
    let space = space();
    for name in [
        "bpf_iter_num_new",
        "bpf_iter_num_next",
        "bpf_iter_num_destroy",
    ] {
        for place in [KERNEL, 0, 64, guest_ptr(PAGE - 7), guest_ptr(u32::MAX)] {
            assert_eq!(
                call(&space, name, &[place, 0, 5]),
                Err(Trap::BadPointer),
                "{name}"
            );
        }
        assert_eq!(
            kfunc(&space, name, &[AT, 0, 5], 8 / BYTES - 1).0,
            Err(Trap::Budget)
        );
        assert_eq!(
            kfunc(&space, name, &[AT, 0, 5], 8 / BYTES),
            (Ok(if name.ends_with("next") { AT } else { 0 }), 0)
        );
    }
}
