/** A time zone as in RFC 3339. */
const ZONE = "(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
const CLOCK = "(?:[01]\\d|2[0-3]):[0-5]\\d(?::(?:[0-5]\\d|60)(?:\\.\\d{1,20})?)?";
const DAY = /^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/;
const TIME = new RegExp(`^${CLOCK}${ZONE}?$`);
const TIME_WITH_ZONE = new RegExp(`^${CLOCK}${ZONE}$`);

/** The formats of text that are checked, and what to say of a text that isn't one. Other formats are descriptions. */
export const FORMATS: ReadonlyMap<string, { fits: (text: string) => boolean; message: string }> =
  new Map([
    ["date", { fits: isDay, message: "must be a day, such as 2026-01-31" }],
    // People type times without a zone or seconds, and a time of day has neither on most forms.
    ["time", { fits: (text: string) => TIME.test(text), message: "must be a time, such as 18:30" }],
    [
      "date-time",
      { fits: isInstant, message: "must be a time with its zone, such as 2026-01-31T18:30:00Z" },
    ],
    [
      "uri",
      {
        fits: (text: string) => /^[A-Za-z][A-Za-z0-9+.-]{0,60}:[^\s]+$/.test(text),
        message: "must be an address, such as https://example.com",
      },
    ],
    [
      "email",
      {
        fits: (text: string) => text.length <= 320 && /^[^\s@]+@[^\s@]+$/.test(text),
        message: "must be an email address",
      },
    ],
  ]);

function isDay(text: string): boolean {
  const [, year, month, day] = DAY.exec(text) ?? [];
  return day !== undefined && Number(day) <= lengthOfMonth(Number(year), Number(month));
}

function lengthOfMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

function isInstant(text: string): boolean {
  return (
    isDay(text.slice(0, 10)) && /^[Tt ]/.test(text.slice(10)) && TIME_WITH_ZONE.test(text.slice(11))
  );
}
