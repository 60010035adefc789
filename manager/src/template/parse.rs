//! From tokens to a tree.

use super::Fault;
use super::lex::{Kind, Offset, Piece, Token, pieces};
use serde_json::Value;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    If(Choice),
    With(Choice),
    Range(Choice),
    Break,
    Continue,
}

/// A condition or a list, what is done with it, and what is done without.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) pipeline: Pipeline,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// `$a, $b := command | command`
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// An existing variable is changed (`=`) rather than a new one made.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// An operand, or a function or method with its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) operator: Term,
    pub(super) arguments: Vec<Term>,
}

/// An operand and the fields that are taken from it.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) operand: Operand,
    pub(super) fields: Vec<String>,
    pub(super) at: Offset,
}

#[derive(Debug)]
pub(super) enum Operand {
    Dot,
    Literal(Value),
    Variable(String),
    Function(String),
    Parens(Box<Pipeline>),
}

impl Term {
    /// As it was written, as far as a message needs it.
    pub(super) fn written(&self) -> String {
        let operand = match &self.operand {
            Operand::Dot if self.fields.is_empty() => ".".to_owned(),
            Operand::Dot => String::new(),
            Operand::Literal(value) => value.to_string(),
            Operand::Variable(name) => format!("${name}"),
            Operand::Function(name) => name.clone(),
            Operand::Parens(_) => "(...)".to_owned(),
        };
        self.fields.iter().fold(operand, |text, field| format!("{text}.{field}"))
    }
}

/// Parses a whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Fault> {
    let mut parser = Parser { text, pieces: pieces(text)?.into_iter(), depth: 0 };
    let (nodes, end) = parser.block(None)?;
    match end {
        None => Ok(nodes),
        Some(End { at, word, .. }) => {
            Err(Fault::parse(text, at, &format!("unexpected {{{{{word}}}}}")))
        }
    }
}

/// How deep blocks and parentheses may stand in each other.
const DEEPEST: usize = 100;

struct Parser<'t> {
    text: &'t str,
    pieces: std::vec::IntoIter<Piece>,
    depth: usize,
}

/// What ends a block: `end`, or `else` with the tokens behind it.
struct End {
    word: String,
    rest: Vec<Token>,
    at: Offset,
}

impl Parser<'_> {
    /// Nodes up to the `end` or `else` of the block, or to the end of the template.
    fn block(&mut self, opened: Option<Offset>) -> Result<(Vec<Node>, Option<End>), Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::parse(
                self.text,
                opened.unwrap_or(0),
                "blocks are nested too deeply",
            ));
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (tokens, at) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens, at) => (tokens, at),
            };
            let word = match tokens.first().map(|token| &token.kind) {
                Some(Kind::Word(word)) => word.clone(),
                _ => String::new(),
            };
            match word.as_str() {
                "end" | "else" => {
                    self.depth -= 1;
                    return Ok((nodes, Some(End { word, rest: tokens[1..].to_vec(), at })));
                }
                "break" => nodes.push(Node::Break),
                "continue" => nodes.push(Node::Continue),
                "if" | "with" | "range" => nodes.push(self.choice(&word, &tokens[1..], at)?),
                "define" | "template" | "block" => {
                    return Err(Fault::parse(
                        self.text,
                        at,
                        &format!("{word} has no meaning here"),
                    ));
                }
                _ => nodes.push(Node::Print(self.pipeline(&tokens, at)?)),
            }
        }
        self.depth -= 1;
        match opened {
            None => Ok((nodes, None)),
            Some(at) => Err(Fault::parse(self.text, at, "unexpected EOF: {{end}} is missing")),
        }
    }

    fn choice(&mut self, word: &str, tokens: &[Token], at: Offset) -> Result<Node, Fault> {
        let pipeline = self.pipeline(tokens, at)?;
        let (then, end) = self.block(Some(at))?;
        let mut otherwise = Vec::new();
        if let Some(End { word: end, rest, at: place }) = end
            && end == "else"
        {
            // `else if` is an `if` in the `else`, with one `end` for both.
            if let Some((Token { kind: Kind::Word(inner), .. }, rest)) = rest.split_first()
                && (inner == "if" || inner == "with")
            {
                let inner = inner.clone();
                otherwise.push(self.choice(&inner, rest, place)?);
            } else {
                let (nodes, end) = self.block(Some(place))?;
                otherwise = nodes;
                if end.is_some_and(|end| end.word == "else") {
                    return Err(Fault::parse(self.text, place, "expected end; found {{else}}"));
                }
            }
        }
        let choice = Choice { pipeline, then, otherwise };
        Ok(match word {
            "if" => Node::If(choice),
            "with" => Node::With(choice),
            _ => Node::Range(choice),
        })
    }

    fn pipeline(&mut self, tokens: &[Token], at: Offset) -> Result<Pipeline, Fault> {
        let mut line = Line { text: self.text, tokens, next: 0, at, depth: 0 };
        let pipeline = line.pipeline()?;
        match line.peek() {
            None => Ok(pipeline),
            Some(token) => Err(Fault::parse(self.text, token.at, "unexpected right paren")),
        }
    }
}

/// The tokens of one action.
struct Line<'t> {
    text: &'t str,
    tokens: &'t [Token],
    next: usize,
    at: Offset,
    depth: usize,
}

impl<'t> Line<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.next)
    }

    fn is_sign(&self, sign: char) -> bool {
        self.peek().is_some_and(|token| token.kind == Kind::Sign(sign))
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.is_sign(sign);
        self.next += usize::from(found);
        found
    }

    fn pipeline(&mut self) -> Result<Pipeline, Fault> {
        let (variables, assigns) = self.declaration();
        let mut commands = vec![self.command()?];
        while self.take_sign('|') {
            commands.push(self.command()?);
        }
        Ok(Pipeline { variables, assigns, commands })
    }

    /// `$x :=`, `$k, $v :=`, `$x =`; nothing is passed if it is none of these.
    fn declaration(&mut self) -> (Vec<String>, bool) {
        let start = self.next;
        let mut variables = Vec::new();
        while let Some(Token { kind: Kind::Variable(name), .. }) = self.peek() {
            variables.push(name.clone());
            self.next += 1;
            if self.take_sign(':') {
                return (variables, false);
            }
            if self.take_sign('=') {
                return (variables, true);
            }
            if !self.take_sign(',') {
                break;
            }
        }
        self.next = start;
        (Vec::new(), false)
    }

    fn command(&mut self) -> Result<Command, Fault> {
        let operator = self.term()?.ok_or_else(|| {
            let at = self.peek().map_or(self.at, |token| token.at);
            Fault::parse(self.text, at, "missing value for command")
        })?;
        let mut arguments = Vec::new();
        while let Some(term) = self.term()? {
            arguments.push(term);
        }
        Ok(Command { operator, arguments })
    }

    /// The next operand with its fields; nothing at a sign that ends the command.
    fn term(&mut self) -> Result<Option<Term>, Fault> {
        let Some(token) = self.peek() else { return Ok(None) };
        let mut fields = Vec::new();
        let operand = match &token.kind {
            Kind::Sign('(') => {
                self.next += 1;
                self.parentheses(token.at)?
            }
            Kind::Sign('|' | ')') => return Ok(None),
            Kind::Sign(sign) => {
                let message = format!("unexpected {sign:?} in command");
                return Err(Fault::parse(self.text, token.at, &message));
            }
            Kind::Dot => Operand::Dot,
            Kind::Field(name) => {
                fields.push(name.clone());
                Operand::Dot
            }
            Kind::Variable(name) => Operand::Variable(name.clone()),
            Kind::Word(name) => Operand::Function(name.clone()),
            Kind::Literal(value) => Operand::Literal(value.clone()),
        };
        if !matches!(token.kind, Kind::Sign('(')) {
            self.next += 1;
        }
        while let Some(Token { kind: Kind::Field(name), spaced: false, .. }) = self.peek() {
            fields.push(name.clone());
            self.next += 1;
        }
        Ok(Some(Term { operand, fields, at: token.at }))
    }

    fn parentheses(&mut self, at: Offset) -> Result<Operand, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::parse(self.text, at, "parentheses are nested too deeply"));
        }
        let inner = self.pipeline()?;
        self.depth -= 1;
        if self.take_sign(')') {
            Ok(Operand::Parens(Box::new(inner)))
        } else {
            Err(Fault::parse(self.text, at, "unclosed left paren"))
        }
    }
}
