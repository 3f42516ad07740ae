//! Modules on wasmi, the interpreter that also runs in the kernel module.

use std::sync::Arc;

use abi::imports::{CALLBACKS, ENV, MEMORY, STACK_BASE, TRAP};
use abi::layout;
use abi::traps::Trap;
use helpers::calls::Work;
use wasmi::errors::HostError;
use wasmi::{
    Caller, CompilationMode, Config, CustomFuelCosts, Engine, Extern, ExternType, Func, FuncType,
    Global, Linker, Memory, MemoryType, Module, Mutability, Nullable, OperatorCost, Ref, Store,
    TrapCode, TypedFunc, Val, ValType,
};

use super::engine::{Instance, State, Target, Trapped, import};
use super::{Base, Error};

impl HostError for Trapped {}

struct Wasmi {
    store: Store<()>,
    memory: Memory,
    fuel: u64,
    instance: Option<wasmi::Instance>,
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::Engine(error.to_string())
}

pub(super) fn start(pages: u32, fuel: u64) -> Result<(Box<dyn Instance>, Base), Error> {
    let mut config = Config::default();
    // Eager: lazy compilation would be paid for by the first run's fuel.
    config
        .consume_fuel(true)
        .operator_cost(cost::operator_costs!(OperatorCost::default()))
        .fuel_cost(CustomFuelCosts {
            bytes_copied_per_fuel: cost::BYTES as u32,
            fuel_per_bytes_translated: 0,
            fuel_per_bytes_validated: 0,
        })
        .wasm_multi_value(false)
        .compilation_mode(CompilationMode::Eager)
        .floats(false);
    let mut store = Store::new(&Engine::new(&config), ());
    let memory = Memory::new(&mut store, MemoryType::new(pages, Some(pages))).map_err(refused)?;
    let base = Base::new(memory.data_ptr(&store)).expect("linear memory has an address");
    let engine = Wasmi {
        store,
        memory,
        fuel,
        instance: None,
    };
    Ok((Box::new(engine), base))
}

impl Wasmi {
    fn function(
        &mut self,
        module: &str,
        name: &str,
        ty: &FuncType,
        state: &Arc<State>,
    ) -> Result<Func, Error> {
        if (module, name) == (ENV, TRAP) {
            return Ok(Func::wrap(&mut self.store, |code: i32, site: i32| {
                Err::<(), _>(wasmi::Error::host(Trapped::from_guest(
                    code as u32,
                    site as u32,
                )))
            }));
        }
        let function = import(module, name)?;
        let expected = FuncType::new(vec![ValType::I64; function.params], [ValType::I64]);
        if *ty != expected {
            return Err(Error::Engine(format!("{module}.{name} has another type")));
        }
        let state = Arc::clone(state);
        Ok(Func::new(
            &mut self.store,
            expected,
            move |mut caller, params, results| {
                let mut args = [0; 5];
                for (arg, param) in args.iter_mut().zip(params) {
                    *arg = param.i64().expect("all parameters are i64") as u64;
                }
                let work = Work::new(caller.get_fuel()?);
                let r0 = state.call(&function, args, &work, &mut |target, args| match target {
                    Target::Callback(index) => Self::lend(&mut caller, &work, |caller| {
                        Self::invoke(caller, index, args)
                    }),
                    Target::Program(export) => Self::lend(&mut caller, &work, |caller| {
                        Self::program(caller, export, args[0])
                    }),
                });
                caller.set_fuel(work.left())?;
                results[0] = Val::I64(r0.map_err(wasmi::Error::host)? as i64);
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
        let function = match table.and_then(|table| table.get(&*caller, index)) {
            Some(Ref::Func(Nullable::Val(function))) => function
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

    fn trapped(error: &wasmi::Error) -> Trapped {
        if let Some(trapped) = error.downcast_ref::<Trapped>() {
            return *trapped;
        }
        Trapped::somewhere(match error.as_trap_code() {
            Some(TrapCode::UnreachableCodeReached) => Trap::Unreachable,
            Some(TrapCode::MemoryOutOfBounds) => Trap::OutOfBounds,
            Some(TrapCode::OutOfFuel) => Trap::Budget,
            Some(TrapCode::StackOverflow) => Trap::StackOverflow,
            Some(TrapCode::IntegerDivisionByZero | TrapCode::IntegerOverflow) => {
                Trap::IntegerDivision
            }
            Some(
                TrapCode::BadSignature | TrapCode::IndirectCallToNull | TrapCode::TableOutOfBounds,
            ) => Trap::BadCall,
            Some(TrapCode::GrowthOperationLimited) => Trap::Growth,
            _ => Trap::Engine,
        })
    }
}

impl Instance for Wasmi {
    fn load(&mut self, wasm: &[u8], state: Arc<State>) -> Result<(), Error> {
        let module = Module::new(self.store.engine(), wasm).map_err(refused)?;
        let mut linker = Linker::new(self.store.engine());
        for item in module.imports() {
            let (from, name) = (item.module(), item.name());
            let definition: wasmi::Extern = match item.ty() {
                ExternType::Memory(_) if (from, name) == (ENV, MEMORY) => self.memory.into(),
                ExternType::Global(_) if (from, name) == (ENV, STACK_BASE) => {
                    let base = Val::I32(layout::stack_base(0) as i32);
                    Global::new(&mut self.store, base, Mutability::Const).into()
                }
                ExternType::Func(ty) => self.function(from, name, ty, &state)?.into(),
                _ => return Err(Error::Engine(format!("it imports {from}.{name}"))),
            };
            linker.define(from, name, definition).map_err(refused)?;
        }
        self.store.set_fuel(self.fuel).map_err(refused)?;
        let instance = linker
            .instantiate_and_start(&mut self.store, &module)
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
            .get_typed_func(&self.store, export)
            .map_err(|_| no_such)?;
        let result = function.call(&mut self.store, argument as i64);
        result
            .map(|r0| r0 as u64)
            .map_err(|error| Self::trapped(&error))
    }
}
