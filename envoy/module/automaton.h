/* Regexes as automata: which of many occur in a text, and what one of them captures.

   The control plane compiles them (control_plane/compiler/automata/). Code is bytes at any alignment;
   its integers are little-endian. A check refuses all code that could lead a run astray. So a run
   compares nothing but its position with the length of the text, and it reads and writes only the code,
   the text and its result, whatever the text is. Code must not change after its check. Nothing here
   allocates, locks, calls itself or keeps a state between calls. A run takes one step for each byte.

   A set of regexes:

       0  char magic[4] "CWS1"    4  u32 size of all
       8  u16 regexes            10  u16 words = ceil(regexes / 64)
      12  u16 parts              14  u16 0
      16  the parts, one after another

   A part is a deterministic automaton. A state is a number below `states`, and there are numbers that
   no state has. From state 0 no byte leads anywhere: a run ends there. States from `quiet` on tell a set
   of regexes when they are reached; each state tells one where the text ends. On a byte of column c,
   state s leads to the `next` of cell s + c if it owns that cell; else to its fallback.

       0  u32 size of the part    4  u32 cells
       8  u16 states             10  u16 columns
      12  u16 start              14  u16 quiet
      16  u16 sets               18  u16 0
      20  u8  column[256]                       of each byte
          u16 fallback[states]
          u16 ends[states]                      index of a set
          u16 tells[states - quiet]             index of a set
          { u16 owner, u16 next } cell[cells]
          u64 set[sets][words]                  bit n of the words: regex n occurs

   Captures are an automaton of the same kind, whose ways have lists of moves between registers. When a
   list says that the regex occurs, register 2n has the begin of group n and register 2n+1 its end.

       0  char magic[4] "CWC1"    4  u32 size of all
       8  u32 cells              12  u32 bytes of moves
      16  u16 states             18  u16 columns
      20  u16 start              22  u16 lists
      24  u8  groups             25  u8  registers
      26  u16 0
      28  u8  column[256]
          { u16 next, u16 list } fallback[states]
          u16 ends[states]                      the list of the end of the text
          { u16 owner, u16 next, u16 list } cell[cells]
          u32 list[lists]                       its offset in moves; list 0: nothing happens
          u8  moves[]                           of each list: u8 occurs, u8 count, then pairs: the
                                                register that is written, and the one that is read
                                                (254: -1; 255: the position)
*/
#ifndef CW_AUTOMATON_H
#define CW_AUTOMATON_H

#include <stddef.h>
#include <stdint.h>

#define CW_SET_WORDS 16      /* A set has at most so many words: 1,024 regexes. */
#define CW_CAPTURES_GROUPS 32
#define CW_CAPTURES_REGISTERS 250

/* Return 1 if these bytes are a set that can be run, else 0. */
int cw_set_check(const uint8_t *code, size_t size);

/* The number of words that a run of a checked set writes. */
size_t cw_set_words(const uint8_t *code);

/* Tell which regexes of a checked set occur in a text: bit n % 64 of bits[n / 64] is regex n. */
void cw_set_run(const uint8_t *code, const char *text, size_t len, uint64_t *bits);

/* Return 1 if these bytes are captures that can be run, else 0. */
int cw_captures_check(const uint8_t *code, size_t size);

/* The number of groups that a run of checked captures tells. */
size_t cw_captures_groups(const uint8_t *code);

/* Write the begin and the end of each group, in bytes from the start of the text; -1 and -1 for a group
   that took no part. Return 1 if the regex occurs; 0 if not, and -1 if the text is longer than
   INT32_MAX: then all are -1. */
int cw_captures_run(const uint8_t *code, const char *text, size_t len, int32_t *spans);

#endif
