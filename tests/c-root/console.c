/* The console: serial port and port 0xe9, the same bytes on both. */
#include "root.h"

static unsigned all, wrong;

static void put(char byte)
{
    for (unsigned polls = 0; polls < 1000000 && !(inb(0x3fd) & 0x20); polls++) {}
    outb(0x3f8, (uint8_t)byte);
    outb(0xe9, (uint8_t)byte);
}

void say(const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            put('\r');
        put(*text);
    }
}

void say_number(uint64_t number)
{
    say("0x");
    for (int shift = 60; shift >= 0; shift -= 4)
        if (number >> shift || !shift)
            put("0123456789abcdef"[number >> shift & 0xf]);
}

void fail(const char *name, const char *why)
{
    all++;
    wrong++;
    say("FAIL ");
    say(name);
    say(": ");
    say(why);
    say("\n");
}

void check(const char *name, int holds)
{
    if (!holds) {
        fail(name, "does not hold");
        return;
    }
    all++;
    say("ok ");
    say(name);
    say("\n");
}

void expect(const char *name, uint64_t found, uint64_t expected)
{
    if (found == expected) {
        check(name, 1);
        return;
    }
    all++;
    wrong++;
    say("FAIL ");
    say(name);
    say(": ");
    say_number(found);
    say(", should be ");
    say_number(expected);
    say("\n");
}

void end(void)
{
    say("c-root: ");
    say_number(all - wrong);
    say(" of ");
    say_number(all);
    say(" checks hold\n");
    if (wrong)
        say("exit status 3\n");
    for (unsigned polls = 0; polls < 1000000 && !(inb(0x3fd) & 0x40); polls++) {}
    outb(0xf4, wrong ? 3 : 0);
    for (const char *text = "Shutdown"; *text; text++)
        outb(0x8900, (uint8_t)*text);
    for (;;) {}
}
