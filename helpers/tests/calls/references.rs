//! Maps of maps.

use wprobe_helpers::maps::{Inner, Key};

use super::*;

#[test]
fn maps_of_maps_hand_out_handles() {
    let space = space();
    let inner = MapSpec {
        map_type: MapType::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 2,
        flags: 0,
        inner: None,
    };
    let shape = Inner {
        map_type: MapType::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 2,
        flags: 0,
    };
    for map_type in [MapType::ArrayOfMaps, MapType::HashOfMaps] {
        let outer = MapSpec {
            map_type,
            value_size: 4,
            inner: Some(shape),
            ..inner
        };
        let outer = space.create_map(&outer).unwrap();
        let first = space.create_map(&inner).unwrap();
        let lookup = |key: u32| {
            space.memory().at(64, 4).unwrap().write(&key.to_ne_bytes());
            call(&space, "map_lookup_elem", &[outer.handle, guest_ptr(64)])
        };
        assert_eq!(lookup(1), Ok(0), "nothing there");
        let key = Key::from_host(&1u32.to_ne_bytes()).unwrap();
        let map = space.map(outer.index).unwrap();
        let number = (first.index + 1).to_ne_bytes();
        space.update(map, 0, &key, &number, 0).unwrap();
        assert_eq!(lookup(1), Ok(first.handle));
        assert_eq!(lookup(7), Ok(0));
        for name in ["map_update_elem", "map_delete_elem"] {
            let arity = abi::helpers::by_name(name).unwrap().args.len();
            let args = [outer.handle, guest_ptr(64), guest_ptr(64), 0];
            assert_eq!(call(&space, name, &args[..arity]), Err(Trap::BadMap));
        }
    }
}

/// A hash of maps has its values in guest memory; what a guest makes of them is no more than a forged handle.
#[test]
fn a_scribbled_map_of_maps_leads_nowhere() {
    let space = space();
    let outer = MapSpec {
        map_type: MapType::HashOfMaps,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        flags: 0,
        inner: Some(Inner {
            map_type: MapType::HashOfMaps,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            flags: 0,
        }),
    };
    let outer = space.create_map(&outer).unwrap();
    let map = space.map(outer.index).unwrap();
    let key = Key::from_host(&[0; 4]).unwrap();
    space.update(map, 0, &key, &1u32.to_ne_bytes(), 0).unwrap();
    let all = space.memory().at(0, PAGE.into()).unwrap();
    all.write(&[0xff; PAGE as usize]);
    space.memory().at(64, 4).unwrap().clear();
    let forged = call(&space, "map_lookup_elem", &[outer.handle, guest_ptr(64)]).unwrap();
    let used = call(&space, "map_lookup_elem", &[forged, guest_ptr(64)]);
    assert_eq!(used, Err(Trap::BadMap));
}
