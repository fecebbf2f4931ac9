import { expect, test } from "vitest";
import { copyText, viewResult } from "../../src/web/result-view.ts";

const PNG = "data:image/png;base64,AAAA";

test("text is shown as it is", () => {
  expect(viewResult("<b>hello</b>")).toMatchObject({
    text: "<b>hello</b>",
    rest: null,
    images: [],
  });
});

test("an object's text is shown first, the rest separately", () => {
  const view = viewResult({ text: "A cat.", score: 0.9 });
  expect(view).toMatchObject({ text: "A cat.", rest: '{\n  "score": 0.9\n}' });
});

test("an object that is only a text has no rest", () => {
  expect(viewResult({ text: "A cat." }).rest).toBeNull();
});

test("raster images of a result are shown, and shortened in its JSON", () => {
  const view = viewResult({ images: [PNG], seed: 1 });
  expect(view.images).toEqual([PNG]);
  expect(view.rest).toContain("data:image/png;base64,… (");
  expect(view.rest).toContain('"seed": 1');
});

test.each([
  "data:image/svg+xml;base64,AAAA",
  "data:text/html;base64,AAAA",
  "https://example.com/cat.png",
  "javascript:alert(1)",
  'data:image/png;base64,AAAA" onerror="x',
])("%s is never an image", (value) => {
  expect(viewResult(value).images).toEqual([]);
  expect(viewResult({ image: value }).images).toEqual([]);
});

test("only an https address becomes a link", () => {
  expect(viewResult("https://example.com/cat.png").link).toBe("https://example.com/cat.png");
  expect(viewResult("javascript:alert(1)").link).toBeNull();
});

test("Copy takes the whole result, images included", () => {
  expect(copyText("plain")).toBe("plain");
  expect(JSON.parse(copyText({ image: PNG }))).toEqual({ image: PNG });
});
