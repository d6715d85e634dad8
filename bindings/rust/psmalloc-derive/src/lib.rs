//! The derive macros of `psmalloc`; they are described there.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{
    Data, DeriveInput, Error, Fields, GenericParam, Ident, Index, Lifetime, LifetimeParam, LitInt,
    Member, Result, Type, parse_macro_input, parse_quote,
};

/// Implements `psmalloc::Shareable` for a struct whose fields all are, or for an enum without
/// fields and with a `repr` of a number.
///
/// `#[shareable(version = 2)]` makes its fingerprint another one.
#[proc_macro_derive(Shareable, attributes(shareable))]
pub fn shareable(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive_shareable(input).unwrap_or_else(Error::into_compile_error).into()
}

/// Implements `psmalloc::Plain` for a `repr(C)` or `repr(transparent)` struct without padding whose
/// fields all are plain.
#[proc_macro_derive(Plain)]
pub fn plain(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive_plain(input).unwrap_or_else(Error::into_compile_error).into()
}

/// The words in a type's `repr` attributes, without `align(..)` and `packed(..)` arguments.
fn reprs(input: &DeriveInput) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for attribute in &input.attrs {
        if attribute.path().is_ident("repr") {
            attribute.parse_nested_meta(|meta| {
                words.push(meta.path.get_ident().map(Ident::to_string).unwrap_or_default());
                if meta.input.peek(syn::token::Paren) {
                    let content;
                    syn::parenthesized!(content in meta.input);
                    content.parse::<LitInt>()?;
                }
                Ok(())
            })?;
        }
    }
    Ok(words)
}

fn version(input: &DeriveInput) -> Result<usize> {
    let mut version = 1;
    for attribute in &input.attrs {
        if attribute.path().is_ident("shareable") {
            attribute.parse_nested_meta(|meta| {
                if !meta.path.is_ident("version") {
                    return Err(meta.error("expected `version = NUMBER`"));
                }
                version = meta.value()?.parse::<LitInt>()?.base10_parse()?;
                Ok(())
            })?;
        }
    }
    Ok(version)
}

/// The fields, with the member that names each.
fn members(fields: &Fields) -> Vec<(Member, &Type)> {
    let numbered = fields.iter().enumerate();
    numbered
        .map(|(index, field)| {
            let member = match &field.ident {
                Some(name) => Member::Named(name.clone()),
                None => Member::Unnamed(Index::from(index)),
            };
            (member, &field.ty)
        })
        .collect()
}

/// The type's own lifetime, which is the segment's; one is added if it has none.
fn segment_lifetime(input: &DeriveInput) -> Result<(Lifetime, Option<LifetimeParam>)> {
    let mut lifetimes = input.generics.lifetimes();
    let first = lifetimes.next();
    if let Some(second) = lifetimes.next() {
        return Err(Error::new_spanned(
            second,
            "a shareable type has at most one lifetime, that of the segment",
        ));
    }
    Ok(match first {
        Some(own) => (own.lifetime.clone(), None),
        None => {
            let added = Lifetime::new("'psmalloc", Span::call_site());
            (added.clone(), Some(LifetimeParam::new(added)))
        }
    })
}

fn derive_shareable(input: DeriveInput) -> Result<TokenStream> {
    let (lifetime, added) = segment_lifetime(&input)?;
    let repr = reprs(&input)?;
    let defined = repr.iter().any(|word| word == "C" || word == "transparent");
    let version = version(&input)?;
    let name = &input.ident;
    let text = name.to_string();
    let description = match &input.data {
        Data::Struct(data) => {
            let compiler = (!defined).then(|| quote!(of.compiler();));
            let fields = members(&data.fields).into_iter().map(|(member, kind)| {
                let field = quote!(#member).to_string();
                quote! {
                    of.text(#field).number(::core::mem::offset_of!(Self, #member));
                    of.visit::<#kind>();
                }
            });
            quote!(#compiler #(#fields)*)
        }
        Data::Enum(data) => describe_enum(data, &repr, name)?,
        Data::Union(_) => {
            return Err(Error::new_spanned(name, "a union does not say which field it holds"));
        }
    };

    let mut generics = input.generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(::psmalloc::Shareable<#lifetime>));
        }
    }
    if let Some(added) = added {
        generics.params.insert(0, GenericParam::Lifetime(added));
    }
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let (_, type_generics, _) = input.generics.split_for_impl();
    Ok(quote! {
        // SAFETY: every field is shareable, or this does not compile.
        #[automatically_derived]
        unsafe impl #impl_generics ::psmalloc::Shareable<#lifetime> for #name #type_generics
        #where_clause
        {
            fn describe(of: &mut ::psmalloc::Fingerprint) {
                of.text(#text).number(#version);
                #description
            }
        }
    })
}

fn describe_enum(data: &syn::DataEnum, repr: &[String], name: &Ident) -> Result<TokenStream> {
    let numbers = ["u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "isize"];
    if !repr.iter().any(|word| numbers.contains(&word.as_str())) {
        return Err(Error::new_spanned(
            name,
            "a shareable enum has a repr of a number, such as #[repr(u32)], so that every process \
             takes the same number for the same variant",
        ));
    }
    let mut variants = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                variant,
                "a shareable enum has no fields; put it beside them in a struct",
            ));
        }
        let (ident, text) = (&variant.ident, variant.ident.to_string());
        variants.push(quote!(of.text(#text).number(Self::#ident as usize);));
    }
    Ok(quote!(#(#variants)*))
}

fn derive_plain(input: DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(name, "only a struct is plain"));
    };
    let repr = reprs(&input)?;
    if !repr.iter().any(|word| word == "C" || word == "transparent") {
        return Err(Error::new_spanned(name, "a plain struct is #[repr(C)]"));
    }
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(parameter, "a plain struct has no parameters"));
    }
    let fields: Vec<&Type> = data.fields.iter().map(|field| &field.ty).collect();
    Ok(quote! {
        // SAFETY: every field is plain, and together they fill the struct, or this does not compile.
        #[automatically_derived]
        unsafe impl ::psmalloc::Plain for #name {}
        const _: () = {
            const fn plain<T: ::psmalloc::Plain>() {}
            #(plain::<#fields>();)*
            assert!(
                ::core::mem::size_of::<#name>() == 0 #(+ ::core::mem::size_of::<#fields>())*,
                "a plain struct has no padding: name the bytes that fill it"
            );
        };
    })
}
