//! Runs translated code on wasmi, with just enough of a runtime: array maps, atomics, a few helpers.

use abi::imports::{ATOMICS, AtomicOp, PACKET_LOADS, PROBE_LOADS};
use abi::layout::{
    context_base, guest_offset, guest_ptr, map_handle, map_index, stack_base, values_base,
};
use abi::manifest::Map;
use bpf2wasm::Converted;
use wasmi::{
    Caller, Config, Engine, Extern, ExternType, Func, Global, Linker, Memory, MemoryType, Module,
    Mutability, Store, Val,
};

use super::Outcome;

/// Where each map's elements begin, and their size and number.
#[derive(Clone, Default)]
struct Host {
    memory: Option<Memory>,
    maps: Vec<(u32, u32, u32)>,
    packet: Vec<u8>,
    trap: Option<String>,
}

/// What a run may spend; the kernel's verifier promises far less.
const BUDGET: u64 = 1 << 24;

/// Values of `core` imports, by a part of their name; the others are poison.
pub(crate) type CoreValues<'a> = &'a [(&'a str, i64)];

/// A program ready to run.
pub(crate) struct Machine {
    store: Store<Host>,
    memory: Memory,
    program: Func,
    maps: Vec<Map>,
}

impl Machine {
    /// Instantiates `converted` to run its first program.
    pub(crate) fn new(converted: &Converted, core: CoreValues<'_>) -> Self {
        let engine = Engine::new(Config::default().consume_fuel(true));
        let module = Module::new(&engine, &converted.wasm).expect("a valid module");
        let mut store = Store::new(&engine, Host::default());
        let memory = Memory::new(&mut store, MemoryType::new(4, Some(4))).expect("memory");
        let mut next = values_base(1);
        for map in &converted.manifest.maps {
            let size = map.value_size.next_multiple_of(8);
            store.data_mut().maps.push((next, size, map.max_entries));
            next += size * map.max_entries;
        }
        store.data_mut().memory = Some(memory);
        let mut linker = Linker::new(&engine);
        for import in module.imports() {
            let (space, name) = (import.module(), import.name());
            let item: Extern = match import.ty() {
                ExternType::Memory(_) => memory.into(),
                ExternType::Global(_) => {
                    let value = global(space, name, converted, store.data(), core);
                    Global::new(&mut store, value, Mutability::Const).into()
                }
                ExternType::Func(ty) => {
                    let (space, name) = (space.to_owned(), name.to_owned());
                    let call =
                        move |mut caller: Caller<'_, Host>, args: &[Val], results: &mut [Val]| {
                            let result = call(&mut caller, &space, &name, args)?;
                            results
                                .iter_mut()
                                .for_each(|r| *r = Val::I64(result as i64));
                            Ok(())
                        };
                    Func::new(&mut store, ty.clone(), call).into()
                }
                ExternType::Table(_) => panic!("a table import"),
            };
            linker
                .define(space, name, item)
                .expect("imports are unique");
        }
        let instance = linker
            .instantiate_and_start(&mut store, &module)
            .expect("known imports");
        let export = &converted.manifest.programs[0].export;
        let program = instance
            .get_func(&store, export)
            .expect("the program's export");
        Machine {
            store,
            memory,
            program,
            maps: converted.manifest.maps.clone(),
        }
    }

    /// Sets what packet loads see.
    pub(crate) fn set_packet(&mut self, packet: &[u8]) {
        self.store.data_mut().packet = packet.to_vec();
    }

    /// Runs the program over a copy of `context`.
    pub(crate) fn run(&mut self, context: &[u8]) -> Outcome {
        let base = context_base(0) as usize;
        self.memory.data_mut(&mut self.store)[base..base + context.len()].copy_from_slice(context);
        self.store.data_mut().trap = None;
        self.store.set_fuel(BUDGET).expect("fuel is on");
        let mut results = [Val::I64(0)];
        let argument = [Val::I64(guest_ptr(context_base(0)) as i64)];
        let ran = self.program.call(&mut self.store, &argument, &mut results);
        let result = match ran {
            Ok(()) => Ok(results[0].i64().expect("an i64") as u32),
            Err(error) => Err(self
                .store
                .data()
                .trap
                .clone()
                .unwrap_or_else(|| error.to_string())),
        };
        let memory = self.memory.data(&self.store);
        let maps = self
            .store
            .data()
            .maps
            .iter()
            .zip(&self.maps)
            .map(|((at, size, count), map)| {
                let element = |i: u32| {
                    let start = (at + i * size) as usize;
                    memory[start..start + map.value_size as usize].to_vec()
                };
                (0..*count).flat_map(element).collect()
            });
        Outcome {
            result,
            context: memory[base..base + context.len()].to_vec(),
            maps: maps.collect(),
        }
    }
}

fn global(
    space: &str,
    name: &str,
    converted: &Converted,
    host: &Host,
    core: CoreValues<'_>,
) -> Val {
    let map = || {
        converted
            .manifest
            .maps
            .iter()
            .position(|m| m.name == name)
            .expect("a known map")
    };
    match space {
        "env" => Val::I32(stack_base(0) as i32),
        "map" if converted.manifest.maps[map()].data.is_some() => {
            Val::I64(guest_ptr(host.maps[map()].0) as i64)
        }
        "map" => Val::I64(map_handle(map() as u32) as i64),
        "map_value" => Val::I64(guest_ptr(host.maps[map()].0) as i64),
        // There is one CPU.
        "map_apart" => Val::I64(0),
        "map_entries" => Val::I64(host.maps[map()].2.into()),
        "core" => {
            let known = core.iter().find(|(part, _)| name.contains(part));
            Val::I64(known.map_or(abi::imports::POISON, |(_, value)| *value))
        }
        "provided" => {
            let known = core.iter().find(|(part, _)| name == *part);
            Val::I64(known.map_or(0, |(_, value)| *value))
        }
        _ => Val::I64(0),
    }
}

fn call(
    caller: &mut Caller<'_, Host>,
    space: &str,
    name: &str,
    args: &[Val],
) -> Result<u64, wasmi::Error> {
    if space == "env" {
        let code = args[0].i32().expect("a trap code") as u32;
        let text = abi::traps::Trap::from_code(code).map_or("unknown trap", |t| t.text());
        caller.data_mut().trap = Some(text.to_owned());
        return Err(wasmi::Error::new(text));
    }
    let args: Vec<u64> = args
        .iter()
        .map(|a| a.i64().expect("an i64") as u64)
        .collect();
    Ok(match space {
        "atomic" => atomic(caller, name, &args),
        "bpf" => helper(caller, name, &args)?,
        _ => 0,
    })
}

fn atomic(caller: &mut Caller<'_, Host>, name: &str, args: &[u64]) -> u64 {
    let (_, op, bytes) = ATOMICS
        .iter()
        .find(|(n, ..)| *n == name)
        .expect("an atomic");
    let old = peek(caller, args[0], *bytes);
    let operand = args[args.len() - 1];
    let mask = u64::MAX >> (64 - 8 * bytes);
    let new = match op {
        AtomicOp::Add => old.wrapping_add(operand),
        AtomicOp::Or => old | operand,
        AtomicOp::And => old & operand,
        AtomicOp::Xor => old ^ operand,
        AtomicOp::Xchg => operand,
        AtomicOp::Cmpxchg if old == args[1] & mask => operand,
        AtomicOp::Cmpxchg => old,
    };
    poke(caller, args[0], &new.to_le_bytes()[..*bytes as usize]);
    old
}

fn peek(caller: &Caller<'_, Host>, pointer: u64, bytes: u32) -> u64 {
    let at = guest_offset(pointer).expect("a guest pointer") as usize;
    let memory = caller.data().memory.expect("memory").data(caller);
    let mut value = [0; 8];
    value[..bytes as usize].copy_from_slice(&memory[at..at + bytes as usize]);
    u64::from_le_bytes(value)
}

fn poke(caller: &mut Caller<'_, Host>, pointer: u64, bytes: &[u8]) {
    let at = guest_offset(pointer).expect("a guest pointer") as usize;
    let memory = caller.data().memory.expect("memory");
    memory.data_mut(caller)[at..at + bytes.len()].copy_from_slice(bytes);
}

fn helper(caller: &mut Caller<'_, Host>, name: &str, args: &[u64]) -> Result<u64, wasmi::Error> {
    if let Some((_, bytes)) = PACKET_LOADS.iter().find(|(n, _)| *n == name) {
        let at = args[1] as usize;
        let field = caller
            .data()
            .packet
            .get(at..at.wrapping_add(*bytes as usize));
        return Ok(field.map_or(u64::MAX, |f| {
            f.iter().fold(0, |v, b| v << 8 | u64::from(*b))
        }));
    }
    if PROBE_LOADS.iter().any(|(n, _)| *n == name) {
        // There is no kernel memory here: every load faults.
        return Ok(0);
    }
    let element = |caller: &Caller<'_, Host>| {
        let (at, size, count) = caller.data().maps[map_index(args[0]).expect("a map") as usize];
        let key = peek(caller, args[1], 4) as u32;
        (key < count).then(|| (guest_ptr(at + key * size), size))
    };
    Ok(match name {
        "map_lookup_elem" => element(caller).map_or(0, |(pointer, _)| pointer),
        "map_update_elem" => match element(caller) {
            Some((pointer, size)) => {
                for i in (0..u64::from(size)).step_by(8) {
                    let value = peek(caller, args[2] + i, 8);
                    poke(caller, pointer + i, &value.to_le_bytes());
                }
                0
            }
            None => -7i64 as u64,
        },
        "loop" => {
            let callbacks = caller
                .get_export("callbacks")
                .and_then(Extern::into_table)
                .expect("a table");
            let callback = callbacks.get(&*caller, args[1]).expect("a callback");
            let callback = *callback.unwrap_func().val().expect("not null");
            for i in 0..args[0] {
                let mut results = [Val::I64(0)];
                let values = [i, args[2], 0, 0, 0].map(|v| Val::I64(v as i64));
                callback.call(&mut *caller, &values, &mut results)?;
                if results[0].i64() != Some(0) {
                    return Ok(i + 1);
                }
            }
            args[0]
        }
        _ => 0,
    })
}
