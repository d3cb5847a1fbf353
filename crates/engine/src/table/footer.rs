//! The last bytes of a table's file.

use std::ops::Range;

use bytes::{BufMut, Bytes};
use lamina_types::wire::{Reader, WireError};
use lamina_types::{GroupId, TableId, TabletId, Version};

use crate::corruption::Corruption;
use crate::index_part::IndexPart;

/// The bytes of a footer, always the last of the file.
pub const FOOTER_BYTES: usize = 256;
/// A footer has room for this many sections.
const SECTIONS_MAX: usize = 7;
const SECTION_BYTES: usize = 24;
const MAGIC: &[u8; 8] = b"LAMTABLE";
const FORMAT: u16 = 1;
const FLAG_REQUIRED: u16 = 1;

/// The data blocks, from the first byte of the file on.
const SECTION_DATA: u16 = 1;
/// The index part.
const SECTION_INDEX: u16 = 2;

/// A part of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
    /// Data: crc32 over the whole section. Index: the checksum that the index part ends with.
    pub crc: u32,
}

impl Section {
    /// Where it lies in the file.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.length)
    }
}

/// Enough to find everything else in the file, and to rebuild a store from its files alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Footer {
    /// The id under which the bytes were first written; the file may have another name by now.
    pub origin: TableId,
    /// The tablet that the table was made for.
    pub tablet: TabletId,
    /// Where in the tree it was meant to stand, 0 for a flush.
    pub level: u8,
    /// The lowest version in it.
    pub lowest: Version,
    /// The highest version in it.
    pub highest: Version,
    /// The bytes of the file, this footer included.
    pub file_bytes: u64,
    /// The data blocks.
    pub data: Section,
    /// The index part.
    pub index: Section,
    /// The checksum of the footer. Since it covers the checksums of all sections, it stands for the whole file: two
    /// files with the same one are the same.
    pub crc: u32,
}

impl Footer {
    /// Reads the last [`FOOTER_BYTES`] of a file. Refuses a footer with a section that is required and unknown.
    pub fn parse(bytes: &[u8]) -> Result<Footer, Corruption> {
        let bad = Corruption::new;
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(bad("the footer is too short"))?;
        let crc = u32::from_le_bytes(*crc);
        if bytes.len() != FOOTER_BYTES {
            return Err(bad("the footer has a wrong length"));
        }
        if crc32fast::hash(covered) != crc {
            return Err(bad("the checksum of the footer does not match"));
        }
        if !covered.starts_with(MAGIC) {
            return Err(bad("this is no table"));
        }
        // 256 bytes, once per table that is opened: copying them keeps the reader simple.
        let mut reader = Reader::new(Bytes::copy_from_slice(covered));
        let mut footer = Footer::decode(&mut reader).map_err(|_| bad("the footer is malformed"))?;
        footer.crc = crc;
        let count = reader.u16().map_err(|_| bad("the footer is malformed"))?;
        if usize::from(count) > SECTIONS_MAX {
            return Err(bad("the footer has too many sections"));
        }
        footer.read_sections(count, &mut reader)?;
        Ok(footer)
    }

    /// The fields before the list of sections.
    fn decode(reader: &mut Reader) -> Result<Footer, WireError> {
        reader.take(MAGIC.len())?;
        if reader.u16()? != FORMAT {
            return Err(WireError::Tag);
        }
        let origin = reader.take(TableId::BYTES)?;
        let none = Section { offset: 0, length: 0, crc: 0 };
        Ok(Footer {
            origin: TableId::from_bytes(origin.first_chunk().copied().ok_or(WireError::Truncated)?),
            tablet: TabletId { group: GroupId(reader.u32()?), index: reader.u64()? },
            level: reader.u8()?,
            lowest: Version(reader.u64()?),
            highest: Version(reader.u64()?),
            file_bytes: reader.u64()?,
            data: none,
            index: none,
            crc: 0,
        })
    }

    fn read_sections(&mut self, count: u16, reader: &mut Reader) -> Result<(), Corruption> {
        let origin = self.origin;
        let bad = |what| Corruption::in_table(what, origin);
        let body =
            self.file_bytes.checked_sub(FOOTER_BYTES as u64).ok_or(bad("the file claims to be too short"))?;
        let (mut data, mut index) = (None, None);
        let mut at = 0;
        for _ in 0..count {
            let (kind, flags, section) = read_section(reader).map_err(|_| bad("the footer is malformed"))?;
            if section.offset != at || section.length > body - at {
                return Err(bad("the sections of the file do not follow each other"));
            }
            at += section.length;
            let slot = match kind {
                SECTION_DATA => &mut data,
                SECTION_INDEX => &mut index,
                _ if flags & FLAG_REQUIRED != 0 => {
                    return Err(bad("a required section of the file is unknown"));
                }
                _ => continue,
            };
            if slot.replace(section).is_some() {
                return Err(bad("a section of the file stands twice"));
            }
        }
        if at != body {
            return Err(bad("the sections do not fill the file"));
        }
        self.data =
            data.filter(|data| data.offset == 0).ok_or(bad("the file has no data section in front"))?;
        self.index = index.ok_or(bad("the file has no index section"))?;
        Ok(())
    }

    /// Reads the index section of the file, `bytes`, which must be the one that this footer names.
    pub fn open_index(&self, bytes: Bytes) -> Result<IndexPart, Corruption> {
        let bad = |what| Corruption::in_table(what, self.origin);
        let part = IndexPart::parse(bytes)?;
        if part.origin() != self.origin || part.crc() != self.index.crc {
            return Err(bad("the index part belongs to another table"));
        }
        if part.properties().data_bytes != self.data.length {
            return Err(bad("the index part and the footer disagree about the data"));
        }
        Ok(part)
    }

    /// The bytes of the footer. `crc` is computed, not taken from the field.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(MAGIC);
        out.put_u16_le(FORMAT);
        out.put_slice(&self.origin.to_bytes());
        out.put_u32_le(self.tablet.group.0);
        out.put_u64_le(self.tablet.index);
        out.put_u8(self.level);
        out.put_u64_le(self.lowest.0);
        out.put_u64_le(self.highest.0);
        out.put_u64_le(self.file_bytes);
        let sections = [(SECTION_DATA, self.data), (SECTION_INDEX, self.index)];
        out.put_u16_le(sections.len() as u16);
        for (kind, section) in sections {
            out.put_u16_le(kind);
            out.put_u16_le(FLAG_REQUIRED);
            out.put_u64_le(section.offset);
            out.put_u64_le(section.length);
            out.put_u32_le(section.crc);
        }
        out.resize(FOOTER_BYTES - 4, 0);
        let crc = crc32fast::hash(&out);
        out.put_u32_le(crc);
        out
    }
}

fn read_section(reader: &mut Reader) -> Result<(u16, u16, Section), WireError> {
    let (kind, flags) = (reader.u16()?, reader.u16()?);
    let section = Section { offset: reader.u64()?, length: reader.u64()?, crc: reader.u32()? };
    Ok((kind, flags, section))
}

/// Fixed fields, sections, checksum: it all has to fit.
const _: () = assert!(8 + 2 + 16 + 12 + 1 + 24 + 2 + SECTIONS_MAX * SECTION_BYTES + 4 <= FOOTER_BYTES);
