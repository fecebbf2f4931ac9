import { Lexer, type Token, type Tokens } from "marked";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";

/**
 * Markdown as elements. Nothing of the text becomes markup: its tokens are made into elements one by one, HTML in it is
 * shown as text, and images aren't loaded, because a worker could see by them who reads a result.
 */
export function Markdown({ text }: { text: string }) {
  const tokens = useMemo(() => read(text), [text]);
  if (tokens === null) return <p class="result-text">{text}</p>;
  return <div class="markdown">{tokens.map(block)}</div>;
}

/** `null` if the text can't be read, such as quotes nested ten thousand deep. */
function read(text: string): Token[] | null {
  try {
    return new Lexer({ gfm: true }).lex(text);
  } catch {
    return null;
  }
}

type Heading = "h3" | "h4" | "h5" | "h6";

function block(token: Token, key: number): ComponentChildren {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading": {
      // Below the headings of the page.
      const Name = `h${Math.min(6, (token as Tokens.Heading).depth + 2)}` as Heading;
      return <Name key={key}>{inlines(token)}</Name>;
    }
    case "code":
      return (
        <pre key={key}>
          <code>{(token as Tokens.Code).text}</code>
        </pre>
      );
    case "blockquote":
      return <blockquote key={key}>{blocks(token)}</blockquote>;
    case "hr":
      return <hr key={key} />;
    case "list":
      return list(token as Tokens.List, key);
    case "table":
      return table(token as Tokens.Table, key);
    case "html":
      return <p key={key}>{token.raw}</p>;
    case "text":
      return <span key={key}>{inlines(token)}</span>;
    default:
      return <p key={key}>{inlines(token)}</p>;
  }
}

function blocks(token: Token): ComponentChildren {
  return (partsOf(token) ?? []).map(block);
}

function list({ ordered, start, items }: Tokens.List, key: number): ComponentChildren {
  const entries = items.map((item, index) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: the list is made anew with its text
    <li key={index}>{blocks(item)}</li>
  ));
  if (!ordered) return <ul key={key}>{entries}</ul>;
  return (
    <ol key={key} start={start === "" ? 1 : start}>
      {entries}
    </ol>
  );
}

function table({ header, rows }: Tokens.Table, key: number): ComponentChildren {
  return (
    <table key={key}>
      <thead>
        <tr>
          {header.map((cell, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the table is made anew with its text
            <th key={index}>{cell.tokens.map(inline)}</th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the same
          <tr key={index}>
            {row.map((cell, column) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the same
              <td key={column}>{cell.tokens.map(inline)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function inlines(token: Token): ComponentChildren {
  return partsOf(token)?.map(inline) ?? plain(textOf(token));
}

function inline(token: Token, key: number): ComponentChildren {
  switch (token.type) {
    case "strong":
      return <strong key={key}>{inlines(token)}</strong>;
    case "em":
      return <em key={key}>{inlines(token)}</em>;
    case "del":
      return <del key={key}>{inlines(token)}</del>;
    case "codespan":
      return <code key={key}>{textOf(token)}</code>;
    case "br":
      return <br key={key} />;
    case "link":
      return link(token as Tokens.Link, key);
    case "image":
      return link({ ...(token as Tokens.Image), tokens: [] }, key);
    case "html":
      return token.raw;
    default:
      return inlines(token);
  }
}

/** Addresses of the web and of mail alone: `javascript:` would run in this page. */
function link({ href, text, tokens }: Pick<Tokens.Link, "href" | "text" | "tokens">, key: number) {
  const shown = tokens.length > 0 ? tokens.map(inline) : text || href;
  if (!/^(?:https?:|mailto:)/i.test(href)) return <span key={key}>{shown}</span>;
  return (
    <a key={key} href={href} rel="noopener noreferrer">
      {shown}
    </a>
  );
}

function partsOf(token: Token): Token[] | undefined {
  return "tokens" in token ? token.tokens : undefined;
}

function textOf(token: Token): string {
  return "text" in token ? String(token.text) : token.raw;
}

const ENTITIES = new Map([
  ["&amp;", "&"],
  ["&lt;", "<"],
  ["&gt;", ">"],
  ["&quot;", '"'],
  ["&#39;", "'"],
  ["&nbsp;", "\u00a0"],
]);

/** A text in which characters may stand by their names. */
function plain(text: string): string {
  return text.replace(/&(?:amp|lt|gt|quot|#39|nbsp);/g, (name) => ENTITIES.get(name) ?? name);
}
