/** Thrown for invalid options; the message can be shown to the user. */
export class InvalidOptions extends TypeError {
  override readonly name = "InvalidOptions";
}
