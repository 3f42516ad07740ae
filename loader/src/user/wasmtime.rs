//! Modules on wasmtime, compiled ahead of the first run.

use std::sync::Arc;

use abi::imports::{CALLBACKS, ENV, MEMORY, STACK_BASE, TRAP};
use abi::layout;
use abi::traps::Trap;
use helpers::calls::Work;
use wasmtime::{
    Caller, Config, Engine, Extern, ExternType, Func, FuncType, Global, GlobalType, Linker, Memory,
    MemoryType, Module, Mutability, Ref, Store, TypedFunc, Val, ValType,
};

use super::engine::{Instance, State, Target, Trapped, import};
use super::{Base, Error};

struct Wasmtime {
    store: Store<()>,
    memory: Memory,
    fuel: u64,
    instance: Option<wasmtime::Instance>,
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::Engine(format!("{error:#}"))
}

pub(super) fn start(pages: u32, fuel: u64) -> Result<(Box<dyn Instance>, Base), Error> {
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config).map_err(refused)?;
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, MemoryType::new(pages, Some(pages))).map_err(refused)?;
    let base = Base::new(memory.data_ptr(&store)).expect("linear memory has an address");
    let engine = Wasmtime {
        store,
        memory,
        fuel,
        instance: None,
    };
    Ok((Box::new(engine), base))
}

impl Wasmtime {
    fn function(
        &mut self,
        module: &str,
        name: &str,
        ty: &FuncType,
        state: &Arc<State>,
    ) -> Result<Func, Error> {
        if (module, name) == (ENV, TRAP) {
            let trap = |code: i32, site: i32| -> wasmtime::Result<()> {
                Err(Trapped::from_guest(code as u32, site as u32).into())
            };
            return Ok(Func::wrap(&mut self.store, trap));
        }
        let function = import(module, name)?;
        let params = vec![ValType::I64; function.params];
        let expected = FuncType::new(self.store.engine(), params, [ValType::I64]);
        if !FuncType::eq(ty, &expected) {
            return Err(Error::Engine(format!("{module}.{name} has another type")));
        }
        let state = Arc::clone(state);
        Ok(Func::new(
            &mut self.store,
            expected,
            move |mut caller, params, results| {
                let mut args = [0; 5];
                for (arg, param) in args.iter_mut().zip(params) {
                    *arg = param.unwrap_i64() as u64;
                }
                let work = Work::new(caller.get_fuel()?);
                // It takes a call for a plain operator.
                work.units(cost::CALL).map_err(Trapped::somewhere)?;
                let r0 = state.call(&function, args, &work, &mut |target, args| match target {
                    Target::Callback(index) => Self::lend(&mut caller, &work, |caller| {
                        Self::invoke(caller, index, args)
                    }),
                    Target::Program(export) => Self::lend(&mut caller, &work, |caller| {
                        Self::program(caller, export, args[0])
                    }),
                });
                caller.set_fuel(work.left())?;
                results[0] = Val::I64(r0? as i64);
                Ok(())
            },
        ))
    }

    /// Has functions of the module run on what is left of the budget, and goes on with what they leave.
    fn lend(
        caller: &mut Caller<'_, ()>,
        work: &Work,
        run: impl FnOnce(&mut Caller<'_, ()>) -> Result<u64, Trapped>,
    ) -> Result<u64, Trapped> {
        let without = Trapped::somewhere(Trap::Engine);
        caller.set_fuel(work.left()).map_err(|_| without)?;
        let result = run(caller);
        work.resume(caller.get_fuel().map_err(|_| without)?);
        result
    }

    /// Calls program `export` of the module.
    fn program(caller: &mut Caller<'_, ()>, export: &str, argument: u64) -> Result<u64, Trapped> {
        let function = caller.get_export(export).and_then(Extern::into_func);
        let function = function.and_then(|f| f.typed::<i64, i64>(&*caller).ok());
        let function = function.ok_or(Trapped::somewhere(Trap::BadCall))?;
        let result = function.call(caller, argument as i64);
        result
            .map(|r0| r0 as u64)
            .map_err(|error| Self::trapped(&error))
    }

    /// Calls function `index` of the module's table.
    fn invoke(caller: &mut Caller<'_, ()>, index: u64, args: [u64; 5]) -> Result<u64, Trapped> {
        let table = caller.get_export(CALLBACKS).and_then(Extern::into_table);
        let function = match table.and_then(|table| table.get(&mut *caller, index)) {
            Some(Ref::Func(Some(function))) => function
                .typed::<(i64, i64, i64, i64, i64), i64>(&*caller)
                .ok(),
            _ => None,
        };
        let [a, b, c, d, e] = args.map(|arg| arg as i64);
        let result = function
            .ok_or(Trapped::somewhere(Trap::BadCall))?
            .call(caller, (a, b, c, d, e));
        result
            .map(|r0| r0 as u64)
            .map_err(|error| Self::trapped(&error))
    }

    fn global(&mut self, value: Val) -> Result<Extern, Error> {
        let ty = value.ty(&self.store).map_err(refused)?;
        let global = Global::new(
            &mut self.store,
            GlobalType::new(ty, Mutability::Const),
            value,
        );
        Ok(global.map_err(refused)?.into())
    }

    fn trapped(error: &wasmtime::Error) -> Trapped {
        if let Some(trapped) = error.downcast_ref::<Trapped>() {
            return *trapped;
        }
        Trapped::somewhere(match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::UnreachableCodeReached) => Trap::Unreachable,
            Some(wasmtime::Trap::MemoryOutOfBounds) => Trap::OutOfBounds,
            Some(wasmtime::Trap::OutOfFuel) => Trap::Budget,
            Some(wasmtime::Trap::StackOverflow) => Trap::StackOverflow,
            Some(wasmtime::Trap::IntegerDivisionByZero | wasmtime::Trap::IntegerOverflow) => {
                Trap::IntegerDivision
            }
            Some(
                wasmtime::Trap::BadSignature
                | wasmtime::Trap::IndirectCallToNull
                | wasmtime::Trap::TableOutOfBounds,
            ) => Trap::BadCall,
            _ => Trap::Engine,
        })
    }
}

impl Instance for Wasmtime {
    fn load(&mut self, wasm: &[u8], state: Arc<State>) -> Result<(), Error> {
        let module = Module::new(self.store.engine(), wasm).map_err(refused)?;
        let mut linker = Linker::new(self.store.engine());
        for item in module.imports() {
            let (from, name) = (item.module(), item.name());
            let definition: Extern = match item.ty() {
                ExternType::Memory(_) if (from, name) == (ENV, MEMORY) => self.memory.into(),
                ExternType::Global(_) if (from, name) == (ENV, STACK_BASE) => {
                    self.global(Val::I32(layout::stack_base(0) as i32))?
                }
                ExternType::Func(ty) => self.function(from, name, &ty, &state)?.into(),
                _ => return Err(Error::Engine(format!("it imports {from}.{name}"))),
            };
            linker
                .define(&self.store, from, name, definition)
                .map_err(refused)?;
        }
        self.store.set_fuel(self.fuel).map_err(refused)?;
        let instance = linker
            .instantiate(&mut self.store, &module)
            .map_err(refused)?;
        self.instance = Some(instance);
        Ok(())
    }

    fn refuel(&mut self) -> Result<(), Trapped> {
        let refueled = self.store.set_fuel(self.fuel);
        refueled.map_err(|_| Trapped::somewhere(Trap::Engine))
    }

    fn call(&mut self, export: &str, argument: u64) -> Result<u64, Trapped> {
        let no_such = Trapped::somewhere(Trap::BadCall);
        let instance = self.instance.ok_or(no_such)?;
        let function: TypedFunc<i64, i64> = instance
            .get_typed_func(&mut self.store, export)
            .map_err(|_| no_such)?;
        let result = function.call(&mut self.store, argument as i64);
        result
            .map(|r0| r0 as u64)
            .map_err(|error| Self::trapped(&error))
    }
}
