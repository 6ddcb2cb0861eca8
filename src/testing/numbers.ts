/**
 * DynamoDB's numbers: decimals of up to 38 significant digits, which JavaScript's numbers can't
 * carry
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html#HowItWorks.DataTypes.Number).
 */
import { invalid } from "./errors.ts";

const MAX_DIGITS = 38;
const MAX_MAGNITUDE = 125;
const MIN_MAGNITUDE = -130;
const NUMBER = /^([+-]?)(?=\.?\d)(\d*)\.?(\d*)(?:e([+-]?\d+))?$/i;

/** The number `digits * 10 ** exponent`. */
interface Decimal {
  readonly digits: bigint;
  readonly exponent: number;
}

const parse = (text: string): Decimal => {
  const [match, sign = "", whole = "", fraction = "", exponent = "0"] = NUMBER.exec(text) ?? [];
  if (match === undefined) throw invalid(`The parameter cannot be converted to a numeric value: ${text}`);
  const digits = BigInt(whole + fraction);
  return { digits: sign === "-" ? -digits : digits, exponent: Number(exponent) - fraction.length };
};

const toText = ({ digits, exponent }: Decimal): string => {
  const negative = digits < 0n ? "-" : "";
  const all = digits.toString().replace("-", "");
  const significant = all.replace(/0+$/, "");
  if (significant === "") return "0";
  if (significant.length > MAX_DIGITS) throw invalid("Attempting to store more than 38 significant digits in a Number");
  const magnitude = all.length + exponent - 1;
  const range = (flow: string, size: string) =>
    invalid(`Number ${flow}. Attempting to store a number with magnitude ${size} than supported range`);
  if (magnitude > MAX_MAGNITUDE) throw range("overflow", "larger");
  if (magnitude < MIN_MAGNITUDE) throw range("underflow", "smaller");
  if (magnitude < 0) return `${negative}0.${"0".repeat(-magnitude - 1)}${significant}`;
  const whole = significant.padEnd(magnitude + 1, "0");
  const fraction = whole.slice(magnitude + 1);
  return `${negative}${whole.slice(0, magnitude + 1)}${fraction && `.${fraction}`}`;
};

/** The two with one exponent. */
const align = (one: string, other: string): [bigint, bigint, number] => {
  const [a, b] = [parse(one), parse(other)];
  const exponent = Math.min(a.exponent, b.exponent);
  const scale = ({ digits, exponent: own }: Decimal) => digits * 10n ** BigInt(own - exponent);
  return [scale(a), scale(b), exponent];
};

/** As DynamoDB shows it: without zeros that mean nothing, and without an exponent. */
export const normalNumber = (text: string): string => toText(parse(text));

export const compareNumbers = (one: string, other: string): number => {
  const [a, b] = align(one, other);
  return a < b ? -1 : a > b ? 1 : 0;
};

export const addNumbers = (one: string, other: string, sign: 1 | -1 = 1): string => {
  const [a, b, exponent] = align(one, other);
  return toText({ digits: sign === 1 ? a + b : a - b, exponent });
};

/** Bytes that a number counts for in the size of an item. */
export const numberSize = (text: string): number => {
  const digits = text.replace(/^-?0*\.?0*|\./g, "").replace(/0+$/, "").length;
  return Math.ceil(digits / 2) + 1 + (text.startsWith("-") ? 1 : 0);
};
