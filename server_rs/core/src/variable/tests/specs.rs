use super::*;
use crate::value::{Dtype, NdArray};

#[test]
fn names_are_identifiers_with_dots_and_dashes() {
    for good in ["a", "_", "llm_temperature", "a.b-c.9", &"a".repeat(128)] {
        assert_eq!(&*Name::parse(good).unwrap(), good);
    }
    for bad in ["", "9a", "-a", ".a", "a b", "ä", "a\n", "a*", "a\0", &"a".repeat(129)] {
        assert!(matches!(Name::parse(bad), Err(Error::InvalidRequest { field, .. }) if field == "name"), "{bad:?}");
    }
}

#[test]
fn a_spec_refuses_constraints_of_another_type_and_a_choice_without_any() {
    assert_eq!(
        refused_field(&Spec::new(Type::Integer, Constraints::Float(FloatConstraints::default()))),
        "constraints"
    );
    assert_eq!(refused_field(&plain(Type::Choice)), "constraints");
    let collection = || Constraints::Collection(CollectionConstraints::default());
    for ty in [Type::List, Type::Map] {
        assert!(Spec::new(ty, collection()).validate().is_ok());
    }
    assert_eq!(refused_field(&Spec::new(Type::String, collection())), "constraints");
}

#[test]
fn a_spec_refuses_limits_that_no_value_can_meet() {
    let limits = |min, max| FloatConstraints { min: Some(min), max: Some(max), ..FloatConstraints::default() };
    assert_eq!(refused_field(&float(limits(2.0, 1.0))), "constraints.min");
    assert_eq!(refused_field(&float(limits(f64::NAN, 1.0))), "constraints.min");
    assert_eq!(refused_field(&float(limits(0.0, f64::INFINITY))), "constraints.max");
    for edge in [(1.0, 1.0), (-0.0, 0.0)] {
        assert!(float(limits(edge.0, edge.1)).validate().is_ok());
        let open = FloatConstraints { exclusive_max: true, ..limits(edge.0, edge.1) };
        assert_eq!(refused_field(&float(open)), "constraints.min");
    }
    for step in [0.0, -1.0, f64::NAN] {
        let step = FloatConstraints { step: Some(step), ..FloatConstraints::default() };
        assert_eq!(refused_field(&float(step)), "constraints.step");
    }
    let integer =
        |min, max, step| Spec::new(Type::Integer, Constraints::Integer(IntegerConstraints { min, max, step }));
    assert_eq!(refused_field(&integer(Some(2), Some(1), None)), "constraints.min");
    assert_eq!(refused_field(&integer(None, None, Some(0))), "constraints.step");
    let text = StringConstraints { min_length: Some(2), max_length: Some(1), ..StringConstraints::default() };
    assert_eq!(refused_field(&Spec::new(Type::String, Constraints::String(text))), "constraints.min_length");
    let deep = CollectionConstraints { max_depth: Some(0), ..CollectionConstraints::default() };
    assert_eq!(refused_field(&Spec::new(Type::Map, Constraints::Collection(deep))), "constraints.max_depth");
    let axes = TensorConstraints { shape: vec![3, -2], dtype: None };
    assert_eq!(refused_field(&Spec::new(Type::Tensor, Constraints::Tensor(axes))), "constraints.shape");
    let whole = EmbeddingConstraints { dimensions: None, dtype: Some(Dtype::Int8) };
    assert_eq!(refused_field(&Spec::new(Type::Embedding, Constraints::Embedding(whole))), "constraints.dtype");
}

#[test]
fn choices_are_distinct_scalars() {
    let choice = |choices: Vec<Value>| Spec::new(Type::Choice, Constraints::Choice(ChoiceConstraints { choices }));
    for bad in [vec![], vec![Value::Int(1), Value::Int(1)], vec![Value::Null], vec![Value::from_iter([])]] {
        assert_eq!(refused_field(&choice(bad)), "constraints.choices");
    }
    let spec = choice(vec![Value::Int(1), Value::Float(1.0), Value::Bool(true), Value::from("1")]);
    spec.validate().unwrap();
    assert!(spec.accept(&name(), Value::Bool(true)).is_ok());
    assert!(broken(&spec, Value::Int(2)).starts_with("choices="));
    assert!(mismatched(&spec, Value::from_iter([])));
}

#[test]
fn a_spec_and_its_equal_are_the_same_registration() {
    let spec = |pattern: &str| {
        let limits = StringConstraints { pattern: Some(Pattern::new(pattern)), ..StringConstraints::default() };
        Spec::new(Type::String, Constraints::String(limits))
    };
    let used = spec("a+");
    used.accept(&name(), "aa".into()).unwrap();
    assert_eq!(used, spec("a+"));
    assert_ne!(used, spec("a*"));
    let zero = |min| float(FloatConstraints { min: Some(min), ..FloatConstraints::default() });
    assert_eq!(zero(0.0), zero(-0.0));
    assert_ne!(plain(Type::Float), Spec { nullable: true, ..plain(Type::Float) });
}

#[test]
fn a_spec_takes_so_many_labels_and_no_more() {
    let labelled = |count: usize| Spec {
        metadata: (0..count).map(|n| (n.to_string(), String::new())).collect(),
        ..plain(Type::Boolean)
    };
    assert!(labelled(MAX_LABELS).validate().is_ok());
    assert_eq!(refused_field(&labelled(MAX_LABELS + 1)), "metadata");
}

#[test]
fn a_bound_is_named_with_its_value() {
    let limits =
        FloatConstraints { min: Some(0.0), max: Some(2.0), exclusive_max: true, ..FloatConstraints::default() };
    assert_eq!(broken(&float(limits.clone()), -0.5), "min=0.0");
    assert_eq!(broken(&float(limits), 2.0), "max=2.0 (exclusive)");
    let limits = IntegerConstraints { min: Some(1), max: Some(9), step: Some(4) };
    let spec = Spec::new(Type::Integer, Constraints::Integer(limits));
    assert_eq!(broken(&spec, 0), "min=1");
    assert_eq!(broken(&spec, 10), "max=9");
    assert_eq!(broken(&spec, 4), "step=4");
    assert!(spec.accept(&name(), Value::Int(5)).is_ok());
    let wide = IntegerConstraints { min: Some(i64::MIN), max: None, step: Some(i64::MAX) };
    let spec = Spec::new(Type::Integer, Constraints::Integer(wide));
    assert!(spec.accept(&name(), Value::Int(-1)).is_ok());
    assert_eq!(broken(&spec, i64::MAX), format!("step={}", i64::MAX));
}

#[test]
fn lengths_count_code_points() {
    let limits = StringConstraints { min_length: Some(2), max_length: Some(3), ..StringConstraints::default() };
    let spec = Spec::new(Type::String, Constraints::String(limits));
    assert!(spec.accept(&name(), "äöü".into()).is_ok());
    assert_eq!(broken(&spec, "ä"), "min_length=2");
    assert_eq!(broken(&spec, "äöü!"), "max_length=3");
    let limits = BytesConstraints { max_length: Some(2) };
    let spec = Spec::new(Type::Bytes, Constraints::Bytes(limits));
    assert_eq!(broken(&spec, Value::Bytes(vec![0; 3].into())), "max_length=2");
}

#[test]
fn modules_and_enumerated_texts_are_exactly_the_listed_ones() {
    let modules = ModuleConstraints { modules: vec!["Predict".into(), "ReAct".into()] };
    let module = Spec::new(Type::Module, Constraints::Module(modules));
    assert!(module.accept(&name(), "ReAct".into()).is_ok());
    assert_eq!(broken(&module, "react"), "modules=Predict,ReAct");
    assert!(plain(Type::Module).accept(&name(), "Anything".into()).is_ok());
    let limits = StringConstraints { one_of: vec!["a".into(), "b".into()], ..StringConstraints::default() };
    assert_eq!(broken(&Spec::new(Type::String, Constraints::String(limits)), "c"), "enum=a,b");
}

#[test]
fn arrays_are_held_to_dtype_and_shape() {
    let array = |dtype: Dtype, shape: &[u64]| {
        let bytes = shape.iter().product::<u64>() * dtype.size();
        Value::Array(NdArray::try_new(dtype, shape, vec![0; usize::try_from(bytes).unwrap()].into()).unwrap())
    };
    let limits = EmbeddingConstraints { dimensions: Some(3), dtype: Some(Dtype::Float32) };
    let embedding = Spec::new(Type::Embedding, Constraints::Embedding(limits));
    assert!(embedding.accept(&name(), array(Dtype::Float32, &[3])).is_ok());
    assert_eq!(broken(&embedding, array(Dtype::Float32, &[4])), "dimensions=3");
    assert_eq!(broken(&embedding, array(Dtype::Float64, &[3])), "dtype=float32");
    assert!(mismatched(&embedding, array(Dtype::Float32, &[3, 1])));
    assert!(mismatched(&plain(Type::Embedding), array(Dtype::Int32, &[3])));
    let limits = TensorConstraints { shape: vec![-1, 2], dtype: Some(Dtype::Int8) };
    let tensor = Spec::new(Type::Tensor, Constraints::Tensor(limits));
    assert!(tensor.accept(&name(), array(Dtype::Int8, &[7, 2])).is_ok());
    assert_eq!(broken(&tensor, array(Dtype::Int8, &[7, 3])), "shape=[-1, 2]");
    assert_eq!(broken(&tensor, array(Dtype::Int8, &[7])), "shape=[-1, 2]");
    assert_eq!(broken(&tensor, array(Dtype::Bool, &[7, 2])), "dtype=int8");
    assert!(mismatched(&tensor, Value::from_iter([Value::Int(1)])));
}

#[test]
fn a_collection_nests_as_deep_as_it_may_and_never_deeper_than_the_server_allows() {
    let nested = |levels: usize| (0..levels).fold(Value::Int(1), |inner, _| [inner].into_iter().collect());
    let limits = CollectionConstraints { max_items: Some(1), max_depth: Some(2) };
    let spec = Spec::new(Type::List, Constraints::Collection(limits));
    assert!(spec.accept(&name(), nested(2)).is_ok());
    assert_eq!(broken(&spec, nested(3)), "max_depth=2");
    assert_eq!(broken(&spec, Value::from_iter([Value::Null, Value::Null])), "max_items=1");
    let unlimited = Spec::new(Type::List, Constraints::Collection(CollectionConstraints::default()));
    for spec in [plain(Type::List), unlimited] {
        assert!(spec.accept(&name(), nested(crate::value::MAX_DEPTH)).is_ok());
        for levels in [crate::value::MAX_DEPTH + 1, 100] {
            assert_eq!(broken(&spec, nested(levels)), format!("max_depth={}", crate::value::MAX_DEPTH));
        }
    }
}

#[test]
fn a_secret_value_is_in_no_refusal() {
    let limits = StringConstraints { max_length: Some(3), ..StringConstraints::default() };
    let spec = Spec { secret: true, ..Spec::new(Type::String, Constraints::String(limits)) };
    let error = spec.accept(&name(), "hunter2".into()).unwrap_err();
    assert!(matches!(error, Error::ConstraintViolated { .. }) && !format!("{error:?} {error}").contains("hunter2"));
}
